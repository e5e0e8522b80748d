"""A tiny Llama on disk in float64, so that PEFT's own merge is exact, and shapes that differ."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from changes import LINEAR

from loradrift.weights import StoredWeights


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """Two layers, 32 wide, with square, tall and wide weights and its own output head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16,
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).double().save_pretrained(folder)
    return folder


@pytest.fixture
def load_base(base_folder) -> Callable:
    """A fresh model from ``base_folder``."""
    from transformers import LlamaForCausalLM

    return lambda: LlamaForCausalLM.from_pretrained(base_folder, dtype=torch.float64)


@pytest.fixture
def saved(load_base, tmp_path) -> Callable:
    """``saved(use_rslora=True)``: the folder of a trained adapter, and the change PEFT merges."""
    from peft import LoraConfig, get_peft_model

    def save(**options):
        pissa = options.get("init_lora_weights") == "pissa"
        sizes = {"r": 4, "lora_alpha": 6, "target_modules": LINEAR}
        model = load_base().float() if pissa else load_base()
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **sizes, **options))
        conversion = {}
        if pissa:
            model.peft_config["default"].init_lora_weights = True
            model.save_pretrained(tmp_path / "initial")
            model.peft_config["default"].init_lora_weights = "pissa"
            conversion["path_initial_model_for_weight_conversion"] = str(tmp_path / "initial")
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_" in name:
                    p.add_(0.1 * torch.randn(p.shape, generator=draw))
        model.save_pretrained(tmp_path / "adapter", **conversion)
        before, merged = load_base().state_dict(), model.merge_and_unload().state_dict()
        change = {key.removesuffix(".weight"): merged[key] - before[key] for key in before}
        return tmp_path / "adapter", {key: x for key, x in change.items() if x.any()}

    return save


@pytest.fixture
def adapter(saved) -> Path:
    return saved()[0]


@pytest.fixture
def base(base_folder) -> StoredWeights:
    return StoredWeights(base_folder)
