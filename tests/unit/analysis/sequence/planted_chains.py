"""Chains of runs on disk whose scores, forgetting and drift are known."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from planted import FINGERPRINTS, PASSING, base, probe

from loradrift.activations import ActivationStore, Pooling
from loradrift.runs import Cell, RunRecord, Status

ROWS = 200
"""Evaluated; half of them have label 1."""

ORDER = ("rte", "mrpc", "sst2")
FULL, LORA = "full_finetune", "lora_r8"

TWO = ("rte", "mrpc")
FIRST = "sequence/mrpc/full_finetune,after=rte/seed=1"
LAST = "sequence/mrpc/lora,after=rte/seed=2"
"""A short chain, and the last steps of its first and of its last run below ``runs``."""

MATRIX = {
    "rte": {"rte": 0.70},
    "mrpc": {"rte": 0.66, "mrpc": 0.80},
    "sst2": {"rte": 0.60, "mrpc": 0.77, "sst2": 0.90},
}
"""Step's task -> task -> accuracy after that step."""

SIZES = {"rte": 0.1, "mrpc": 0.2, "sst2": 0.3}
"""Step's task -> the noise of its first layer against the first model; layer k has k times that."""

NEUTRAL = {"rte": 0.1, "mrpc": 0.25, "sst2": 0.4}
"""Step's task -> how much the loss on neutral text has risen since the first model."""

PROBED = 48


def predictions(folder: Path, score: float, shift: int = 0, rows: int = ROWS) -> float:
    """Write predictions of which so many are right; gives the accuracy that they have.

    ``shift`` moves which rows are wrong.
    """
    right = round(score * rows)
    lines = [
        {"id": f"r/{i}", "label": i % 2,
         "prediction": i % 2 if (i + shift) % rows < right else 1 - i % 2}
        for i in range(rows)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text)
    return right / rows


def write_store(folder: Path, task: str, dumps: Mapping[int, float], seed: int = 0) -> None:
    """Dumps on a task's probe by step: the first model, its layer k moved by k times a size."""
    origin = {name: x + len(task) for name, x in base(PROBED).items()}
    generator = torch.Generator().manual_seed(seed)
    with ActivationStore(folder) as store:
        store.prepare(probe(PROBED), Pooling(), list(origin))
        for step, size in dumps.items():
            store.write(
                step,
                {
                    name: x + k * size * torch.randn(x.shape, generator=generator)
                    for k, (name, x) in enumerate(origin.items(), start=1)
                },
            )


def write_chain(
    runs: Path, arm: str, seed: int, *, order: Sequence[str] = ORDER, matrix=None, lost=1.0,
    sizes=None, neutral=None, luck=0.0, decay=0.0, until: int | None = None,
    study="sequence", shift=0, fingerprints=None, rows: int = ROWS, by="study=sequence",
) -> list[Path]:  # fmt: skip
    """All steps of a chain, or those up to ``until``; gives their folders.

    ``lost`` multiplies what neutral text loses, ``luck`` is added to every score,
    ``decay`` taken from those of earlier tasks, and as many nats from neutral text. ``by`` is what
    was typed.
    """
    matrix, sizes = matrix or MATRIX, sizes or SIZES
    neutral = neutral or NEUTRAL
    method, _, rank = arm.partition("_r")
    rank = rank if rank.isdigit() else ""
    method = method if rank else arm
    before: list[dict] = []
    folders = []
    for number, task in enumerate(order[:until]):
        variant = f"after={'+'.join(order[:number])}" if number else ""
        name = f"{method},{variant}" if variant else method
        folder = runs / study / task / name / f"seed={seed}"
        cell = {"study": study, "task": task, "method": method, "variant": variant, "seed": seed}
        metrics = {}
        for place, earlier in enumerate(order[: number + 1]):
            own = earlier == task
            there = folder if own else folder / "chain" / earlier
            known = matrix[task][earlier] + luck - decay * (not own)
            score = predictions(there, known, shift * place * number, rows)
            metrics[f"{'evaluation' if own else f'earlier/{earlier}'}/accuracy"] = score
            draw = 100 * seed + 10 * number + place + 1000 * len(arm)
            if own:
                steps = {50: sizes[task], 100: sizes[task]}
                start = 0.0 if not number else sizes[order[number - 1]]
                write_store(folder / "activations", task, {0: start} | steps, draw)
            else:
                store = folder / "chain" / earlier / "activations"
                write_store(store, earlier, {100: sizes[task]}, draw)
        if number:
            write_store(folder / "chain" / "first_base", task, {0: 0.0})
        losses = [0.0, *(lost * neutral[each] + decay for each in order)][number : number + 2]
        metrics |= {
            f"forgetting/loss_{when}": 3 + loss
            for when, loss in zip(("before", "after"), losses, strict=True)
        }
        metrics["validation/accuracy"] = metrics["evaluation/accuracy"]
        settings = {"name": method, "optim": {"lr": 0.01}} | ({"rank": int(rank)} if rank else {})
        prints = FINGERPRINTS | ({"chain": "+".join(order[:number])} if number else {})
        record = RunRecord(
            coordinates=cell, overrides=[by],
            config={
                "task": {"metric": "accuracy", "name": task, "batch_size": 8},
                "method": settings, "data": {"name": "local"}, "model": {"name": "planted"},
                "trainer": {"accumulate": 1, "devices": 1, "precision": "32-true", "rounding": 0},
            },
            status=Status.SUCCESS, fingerprints=prints | (fingerprints or {}), steps=100,
            start={"chain": list(before), "run": "…", "fingerprint": "…"} if before else {},
            metrics=metrics, certificate=PASSING if rank else None,
            rows={"train": 800, "evaluation": rows},
        )  # fmt: skip
        csv = "step,train/loss,validation/accuracy\n50,0.5,0.6\n100,0.5,0.7\n"
        (folder / "metrics.csv").write_text(csv)
        Cell(folder, record).save()
        before.append(cell)
        folders.append(folder)
    return folders


def change(folder: Path, **fields) -> None:
    """Change fields of a run's record; objects are merged."""
    path = folder / "run.json"
    record = json.loads(path.read_text())
    for name, value in fields.items():
        record[name] = record[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record))


def seeds_of(found, arm):
    """The seeds of an arm whose chains are whole."""
    return [chain.seed for chain in found.chains if chain.arm == arm]
