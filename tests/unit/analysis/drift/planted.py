"""Runs on disk with known drift, for tests of what reads them."""

from pathlib import Path

import torch

from loradrift.activations import ActivationStore, Pooling, Probe
from loradrift.runs import Cell, RunRecord, Status

LAYERS = 3
QUICK = {"steps": (0, 9), "scores": (0.8,)}
FINGERPRINTS = {
    "evaluation_rows": "e", "train_rows": "t", "tokenization": "k", "metric": "accuracy",
    "probe": "p", "base_model": "b",
}  # fmt: skip

PASSING = {"passed": True, "checks": [], "files": {}}
"""The certificate of an adapter that was applied."""


def probe(num_rows: int) -> Probe:
    """Rows that nobody reads."""
    ones = torch.ones(num_rows, 2, dtype=torch.int64)
    batch = {"input_ids": ones, "attention_mask": ones, "content_mask": ones.bool()}
    return Probe(tuple(f"r/{i}" for i in range(num_rows)), (batch,))


def base(num_rows: int) -> dict[str, torch.Tensor]:
    """The base model's activations, the same in all runs."""
    generator, shape = torch.Generator().manual_seed(0), (num_rows, 16)
    return {f"layer_{k}": torch.randn(shape, generator=generator) + 3 for k in range(LAYERS)}


def write_run(runs: Path, method: str, seed: int, **options) -> Path:
    """A finished run as :func:`plant` leaves it, with its record."""
    folder, record = plant(runs, method, seed, **options)
    Cell(folder, record).save()
    return folder


def write_pair(runs: Path, seed: int, *, full=0.2, lora=0.2, **options) -> None:
    """A run of full fine-tuning and one of LoRA, which drift by these sizes."""
    write_run(runs, "full_finetune", seed, size=full, **options)
    write_run(runs, "lora", seed, size=lora, **options)


def plant(
    runs: Path, method: str, seed: int, *, size: float, task="sst2", study="drift", variant="",
    status=Status.SUCCESS, phase="production", steps=(0, 50, 100), scores=(0.6, 0.8), num_rows=300,
    fingerprints: dict | None = None, certificate: dict | None = PASSING, model: dict | None = None,
    batch=8,
) -> tuple[Path, RunRecord]:  # fmt: skip
    """A finished run but for its record, which the caller writes.

    Layer k moved by white noise of ``(k + 1) * size`` at the last step. Its drift is then
    ``v / (1 + v)`` with ``v = ((k + 1) size)^2``, for many rows.
    """
    config = {} if method in ("full_finetune", "majority") else {"rank": 8}
    if "method.rank=" in variant:
        config = {"rank": int(variant.partition("method.rank=")[2].partition(",")[0])}
    number = int(f"{variant},trainer.rounding=0".split("trainer.rounding=")[1].partition(",")[0])
    folder = runs / study / task / (f"{method},{variant}" if variant else method) / f"seed={seed}"
    cell = {"study": study, "task": task, "method": method, "variant": variant, "seed": seed}
    settings = {
        "task": {"metric": "accuracy", "name": task, "batch_size": batch}, "method": config,
        "trainer": {"accumulate": 1, "devices": 1, "precision": "32-true", "rounding": number},
    }  # fmt: skip
    record = RunRecord(
        coordinates=cell, overrides=[part for part in variant.split(",") if part],
        config=settings | {"model": model or {}}, status=status, phase=phase,
        fingerprints=FINGERPRINTS | (fingerprints or {}), steps=steps[-1],
        metrics={"evaluation/accuracy": scores[-1], "validation/accuracy": scores[-1]},
        certificate=certificate if config else None,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1000 * seed + 100 * number + len(method))
    origin = base(num_rows)
    with ActivationStore(folder / "activations") as store:
        store.prepare(probe(num_rows), Pooling(), list(origin))
        for step in steps:
            layers = {}
            for k, (name, x) in enumerate(origin.items(), start=1):
                noise = torch.randn(x.shape, generator=generator)
                layers[name] = x + step / steps[-1] * k * size * noise
            store.write(step, layers)
    rows = [f"{step},0.5,{score}" for step, score in zip(steps[1:], scores, strict=True)]
    text = "\n".join(["step,train/loss,validation/accuracy", *rows])
    (folder / "metrics.csv").write_text(text + "\n")
    return folder, record


def planted_drift(size: float) -> list[float]:
    """What each layer's drift is for many rows."""
    variances = [((k + 1) * size) ** 2 for k in range(LAYERS)]
    return [variance / (1 + variance) for variance in variances]


def analysed(folder: Path, *measures: str):
    """The tables of the runs below this folder."""
    from loradrift.analysis.drift.pairing import find_pairs
    from loradrift.analysis.drift.rounding import with_copies
    from loradrift.analysis.drift.tables import analyse

    results = folder / "results"
    return analyse(with_copies(find_pairs(folder / "runs", None), results), measures, results, 0)
