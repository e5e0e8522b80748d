"""Reading what runs left behind."""

import csv
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def cells(runs: Path) -> dict[str, dict]:
    """Records by folder, relative to the runs folder."""
    return {
        str(path.parent.relative_to(runs)): json.loads(path.read_text())
        for path in sorted(runs.rglob("run.json"))
        if "archive" not in path.parts
    }


def only(runs: Path) -> tuple[Path, dict]:
    [(name, record)] = cells(runs).items()
    return runs / name, record


def check_predictions(folder: Path, record: dict) -> None:
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == record["rows"]["evaluation"] == len(rows)
    right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert right == pytest.approx(record["metrics"]["evaluation/accuracy"], abs=1e-6)


def metric_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def train_losses(folder: Path) -> list[float]:
    return [float(row["train/loss"]) for row in metric_rows(folder) if row["train/loss"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All that a run exported."""
    return {
        f"{path.name} {key}": value
        for path in sorted((folder / "model").glob("*.safetensors"))
        for key, value in load_file(path).items()
    }


def assert_same(one: Path, other: Path, *files: str | Path) -> None:
    """Two runs exported the same weights, and these files of theirs are the same, to the bit."""
    for file in files:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    first, second = weights(one), weights(other)
    assert first and first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def wait_for(process, runs: Path, file: str) -> None:
    """Return when there is such a file, or when the process has ended."""
    while process.poll() is None and not list(runs.rglob(file)):
        time.sleep(0.002)


@contextmanager
def failing_at_step(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Training inside the block fails at this step, after a checkpoint; the block must see it."""
    from loradrift.callbacks.guards import FiniteLoss, TrainingFault

    check = FiniteLoss.on_before_backward

    def fault(self, trainer, module, loss):
        if trainer.global_step == step:
            raise TrainingFault("stop here")
        check(self, trainer, module, loss)

    with monkeypatch.context() as patched, pytest.raises(TrainingFault, match="stop here"):
        patched.setattr(FiniteLoss, "on_before_backward", fault)
        yield
