"""What many tests need: the configuration as the front door composes it, and small real models."""

import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import fork_server
import pytest
from fork_server import ForkedProcess
from front_doors import composed, run_here

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
HEADS = {"num_heads": 1, "num_kv_heads": 1}
SIZES = {"num_layers": 2, "hidden_size": 32, "intermediate_size": 64, **HEADS}


def pytest_configure(config: pytest.Config) -> None:
    """Start the server that forks processes for all workers; it is idle until it is asked."""
    if not hasattr(config, "workerinput"):
        folder = TemporaryDirectory(prefix="loradrift-")
        server = fork_server.start(Path(folder.name, "server"))
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(server.communicate)


def pytest_collection_finish() -> None:
    """Take what the imports made out of the garbage collector's sight: every run calls it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # a tenth of the time, though little is thrown away


@pytest.fixture(scope="session", autouse=True)
def what_never_changes() -> Iterator[None]:
    """The files of a configuration are merged once for all tests of a worker."""
    from once import read_once

    with pytest.MonkeyPatch.context() as patch:
        read_once(patch)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return SHARED


@pytest.fixture(scope="session")
def load() -> Callable:
    """``load("task=sst2", "method=lora")`` gives the checked configuration."""
    from loradrift import config, launching, study, sweeping

    for part in (config, launching, study, sweeping):
        part.register()

    def load_overrides(*overrides: str) -> config.Config:
        return config.load(composed(*overrides), overrides)

    return load_overrides


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A Llama of 2 layers, 32 wide, with random weights and its own tokenizer."""
    from loradrift.config import ModelConfig, TinyModelConfig
    from loradrift.models import load_backbone, load_tokenizer, write_tiny

    folder = tmp_path_factory.mktemp("model")
    size = TinyModelConfig(name="tiny", vocab_size=300, max_positions=64, **SIZES)
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


SMALL = (
    *(f"model.{name}={size}" for name, size in SIZES.items()),
    "model.pretraining.task.max_steps=2", "task.max_steps=12", "task.batch_size=8",
    "trainer.validate_every=5", "trainer.checkpoint_every=3", "trainer.log_every=1",
    "callbacks.activation_dump.every_n_steps=4", "callbacks.activation_dump.rows=16",
    "callbacks.forgetting.tokens=1024", "data.validation_rows=20", "data.train_rows=200",
)  # fmt: skip
"""A run of a second or two: two layers, 32 wide, 12 steps."""


@contextmanager
def short_corpora(share: int = 4) -> Iterator[None]:
    """Generated corpora that the block writes have one row in ``share``; personas have all."""
    from loradrift.data import embedded

    with pytest.MonkeyPatch.context() as patch:
        for name in ("NUM_ROWS", "NUM_DOCUMENTS", "NUM_QUESTIONS"):
            sizes = {split: size // share for split, size in getattr(embedded, name).items()}
            patch.setattr(embedded, name, sizes)
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """One cache for all tests of all workers: short corpora, tokens, the small model."""
    from loradrift.config import DataConfig
    from loradrift.data import data_root

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "cache"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, short_corpora():
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker writes the corpora, the others wait
        data_root(DataConfig(name="embedded"), folder)
    return folder


@pytest.fixture
def command(cache, tmp_path) -> Callable[..., list[str]]:
    """The command line of a small run."""

    def build(*overrides: str, small: bool = True, runs: Path = tmp_path / "runs") -> list[str]:
        typed = [*(SMALL if small else ()), *overrides, f"cache={cache}", f"runs={runs}"]
        return [sys.executable, "train.py", *typed]

    return build


@pytest.fixture
def train(command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``train.py`` to its end, in a process of its own."""

    def run(*overrides: str, env: dict[str, str] | None = None, timeout: int = 120, **options):
        how = {"cwd": ROOT, "env": os.environ | (env or {}), "timeout": timeout, "text": True}
        return subprocess.run(command(*overrides, **options), capture_output=True, **how)

    return run


@pytest.fixture
def start(command) -> Callable[..., ForkedProcess]:
    """Start ``train.py`` in a process of its own, forked from one that has torch loaded."""
    return lambda *overrides, **options: ForkedProcess(command(*overrides, **options), ROOT)


@pytest.fixture
def train_here(command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``train.py`` to its end in this process: for what is no matter of a process."""

    def run(*overrides: str, env: dict[str, str] | None = None, **options):
        _, script, *typed = command(*overrides, **options)
        return run_here(ROOT / script, *typed, env=env)

    return run


@pytest.fixture
def configure(load, cache, tmp_path) -> Callable:
    """The judged configuration of a small run."""

    def load_small(*overrides: str, runs: Path = tmp_path / "runs"):
        return load(*SMALL, *overrides, f"cache={cache}", f"runs={runs}")

    return load_small


@pytest.fixture
def compute(configure) -> Callable:
    """Run a small cell in this process; gives its folder and its record."""
    from loradrift.runs import open_run
    from loradrift.training import run

    def run_cell(*overrides: str, **places: Path):
        config = configure(*overrides, **places)
        with open_run(config) as cell:
            return cell.folder, run(config, cell)

    return run_cell
