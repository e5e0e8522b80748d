"""Runs on disk whose accuracy, drift and forgetting by learning rate are known."""

import json
import math
from dataclasses import replace
from pathlib import Path

from planted import plant, planted_drift

from loradrift.runs import Cell, Status

ROWS = 200
"""Evaluated, if nothing else is said; half of them have label 1."""

CURVE = {0.001: (0.60, 0.02), 0.01: (0.80, 0.08), 0.1: (0.90, 0.30), 1.0: (0.70, 0.60)}
"""Rate -> accuracy and drift: the largest rate learns less and drifts most."""

LUCK = {1: -0.01, 2: 0.0, 3: 0.02}
"""Seed -> what it adds to the accuracy of every run."""

FULL, LORA, FROZEN = "full_finetune", "lora_r8", "head_only"


def size_of(drift: float) -> float:
    """The noise with which a planted run drifts so far, for many rows."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = sum(planted_drift(middle)) / len(planted_drift(middle))
        low, high = (middle, high) if mean < drift else (low, middle)
    return low


def write_point(
    runs: Path, arm: str, rate: float, seed: int, *, score: float, drift: float,
    forgetting: float | None = None, error: str | None = None, study="frontier", train_rows=800,
    rows=ROWS, **options,
) -> Path:  # fmt: skip
    """A finished run of an arm at a rate, or with an ``error`` a failed one.

    What it forgets is a tenth of its drift, if nothing else is said.
    """
    method, _, rank = arm.partition("_r")
    rank = rank if rank.isdigit() else ""
    method = method if rank else arm
    variant = f"method.optim.lr={rate}" + f",method.rank={rank}" * bool(rank)
    options = {"steps": (0, 50, 100), "scores": (score - 0.1, score), "num_rows": 64} | options
    folder, record = plant(
        runs, method, seed, size=size_of(drift), variant=variant, study=study, **options
    )
    record.config["method"] = {"name": method, "optim": {"lr": rate, "head_lr": 0.001}}
    if rank:
        record.config["method"] |= {"rank": int(rank), "alpha": 2.0 * int(rank)}
    record.config["data"] = {"name": "local"}
    record.config["model"] = {"name": "planted"}
    record.config["scale"] = {"full_finetune_lr": 0.1, "adapter_lr": 0.1, "head_lr": 0.01}
    lost = 0.1 * drift if forgetting is None else forgetting
    metrics = record.metrics | {
        "evaluation/accuracy": round(score * rows) / rows,
        "forgetting/loss_before": 3.0, "forgetting/loss_after": 3.0 + lost,
    }  # fmt: skip
    record = replace(record, metrics=metrics, rows={"train": train_rows, "evaluation": rows})
    if error is not None:
        record = replace(record, status=Status.FAILED, error=error, metrics={}, steps=7)
    Cell(folder, record).save()
    right = round(score * rows)
    lines = [
        {"id": f"r/{i}", "label": i % 2, "prediction": i % 2 if i < right else 1 - i % 2}
        for i in range(rows)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text)
    return folder


def write_arm(runs: Path, arm: str, *, factor=1.0, moved=0.0, seeds=(1, 2, 3), **options) -> None:
    """An arm on the planted curve, with ``factor`` times its drift, and ``moved`` accuracy.

    Seeds drift by some percent more or less.
    """
    for rate, (score, drift) in CURVE.items():
        for seed in seeds:
            spread = math.exp((seed - 2) * 0.05 * (1 if arm == FULL else -1))
            write_point(
                runs, arm, rate, seed, score=score + moved + LUCK[seed],
                drift=drift * factor * spread, **options,
            )  # fmt: skip


def write_frozen(runs: Path, *, seeds=(1, 2, 3), score=0.65, **options) -> None:
    """The control, at two rates."""
    for rate in (0.001, 0.01):
        for seed in seeds:
            write_point(runs, FROZEN, rate, seed, score=score + rate, drift=0.0, **options)
