"""The front doors, driven as a user drives them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SMALL = (
    "model.hidden_size=32",
    "model.num_heads=1",
    "model.num_kv_heads=1",
    "model.num_layers=2",
    "model.intermediate_size=64",
    "model.pretraining.task.max_steps=2",
    "task.max_steps=12",
    "task.batch_size=8",
    "trainer.validate_every=5",
    "trainer.checkpoint_every=3",
    "trainer.log_every=1",
    "callbacks.activation_dump.every_n_steps=4",
    "callbacks.activation_dump.rows=16",
    "data.validation_rows=20",
    "data.train_rows=200",
)
"""A run of a second or two: two layers, 32 wide, 12 steps."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """One cache for all smoke tests: corpora, tokens, the small model."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(cache, tmp_path) -> Callable[..., list[str]]:
    """The command line of a small run."""

    def build(*overrides: str, small: bool = True, runs: Path = tmp_path / "runs") -> list[str]:
        places = [f"cache={cache}", f"runs={runs}"]
        sizes = SMALL if small else ()
        return [sys.executable, "train.py", *sizes, *overrides, *places]

    return build


@pytest.fixture
def train(command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``train.py`` to its end."""

    def run(*overrides: str, env: dict[str, str] | None = None, **options):
        return subprocess.run(
            command(*overrides, **options),
            cwd=ROOT,
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def cells(runs: Path) -> dict[str, dict]:
    """Records by seed folder, relative to the runs folder."""
    return {
        str(path.parent.relative_to(runs)): json.loads(path.read_text())
        for path in sorted(runs.rglob("run.json"))
        if "archive" not in path.parts
    }
