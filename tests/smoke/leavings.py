"""Reading what runs left behind."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
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


def weights(runs: Path) -> dict:
    folder, _ = only(runs)
    return load_file(folder / "model" / "adapter_model.safetensors")


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
