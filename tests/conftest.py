"""What many tests need: the configuration as the front door composes it, and small real models."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return SHARED


@pytest.fixture(scope="session")
def load() -> Callable:
    """``load("task=sst2", "method=lora")`` gives the judged configuration."""
    from hydra import compose, initialize_config_dir

    from loradrift import config
    from loradrift.cli import variant

    config.register()

    def load_overrides(*overrides: str) -> config.Config:
        with initialize_config_dir(str(ROOT / "conf")):
            return config.load(compose("train", list(overrides)), variant(overrides))

    return load_overrides


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A Llama of 2 layers, 32 wide, with random weights and its own tokenizer."""
    from loradrift.config import ModelConfig, TinyModelConfig
    from loradrift.models import load_backbone, load_tokenizer, write_tiny

    folder = tmp_path_factory.mktemp("model")
    size = TinyModelConfig(
        name="tiny",
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_layers=2,
        num_heads=1,
        num_kv_heads=1,
        max_positions=64,
    )
    write_tiny(folder, size, ["the film was great", "the film was terrible", "no", "yes"] * 9)
    random = ModelConfig(name="local", path=str(folder), weights="random")
    load_backbone(random, seed=0).lm.save_pretrained(folder)
    load_tokenizer(random).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder):
    """The configuration of ``model_folder``."""
    from loradrift.config import ModelConfig

    return ModelConfig(name="local", path=str(model_folder))
