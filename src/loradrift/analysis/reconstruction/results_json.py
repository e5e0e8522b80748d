"""``reconstruction.json``: what was found, in numbers for other programs."""

from typing import Any

from loradrift.analysis.plain_json import plain, rows
from loradrift.analysis.reconstruction.tables import Reconstruction
from loradrift.analysis.reconstruction.verdicts import CLASSES

TABLES = ("ladder", "rate", "collapse", "cka", "examples")

UNITS = {
    "f1": "points, 0 to 100", "em": "points, 0 to 100",
    "gold_loss": "nats per token of the gold answer, without the token that ends it",
    "gain": "points of F1 over the baseline, paired by seed and row",
    "wide": "the same, its interval at a level for all arms together",
    "loss_gain": "nats over the baseline; less is better",
    "share": "of the full text's F1", "swapped_f1": "points lost with another row's latents",
    "swapped_loss": "nats added by another row's latents",
    "bytes": "mean bytes that stand for a context", "positions": "mean vectors in its place",
    "intervals": "95 %, over seeds and rows; rows of one context leave and come together",
}  # fmt: skip


def reconstruction_json(found: Reconstruction) -> dict[str, Any]:
    """Everything; what is not defined is null."""
    record = found.scores.first.record
    content: dict[str, Any] = plain(
        {
            "schema": 1,
            "study": found.study,
            "task": record.task_label,
            "model": found.scores.first.flat.get("model.name"),
            "base_model": record.fingerprints.get("base_model"),
            "setting": dict(sorted(found.setting)),
            "baseline": found.baseline.text,
            "best": found.best.arm.text,
            "classes": CLASSES,
            "compression": found.compression,
            "num_rows": len(found.scores.ids),
            "num_contexts": len(found.scores.resampling.sizes_C),
            "findings": {name: finding._asdict() for name, finding in found.findings.items()},
            "comparisons": rows(found.tables["arms"]),
            **{name: rows(found.tables[name]) for name in TABLES},
            "problems": found.problems,
            "units": UNITS,
        }
    )
    return content
