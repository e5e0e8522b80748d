"""What a run was made of: the model, the rows, the recipe, the code and the machine."""

from pathlib import Path
from typing import Any

from loradrift.analysis.drift.arms import Run
from loradrift.config.keys import flatten

SHOWN = ("loradrift", "torch", "transformers", "peft")
"""Packages whose versions a reader is told."""


def made_of(run: Run) -> dict[str, Any]:
    """Columns of the table of runs; None is what a record does not say.

    ``data`` is where the rows come from (``embedded`` ones are generated), ``parameters`` counts
    what an adapter adds too, ``searched`` says that a search gave its learning rate.
    """
    record, config = run.record, flatten(run.record.config)
    dumped = config.get("callbacks.activation_dump.rows")
    sizes = [size for size in (dumped, record.rows.get("evaluation")) if isinstance(size, int)]
    return {
        "data": config.get("data.name"),
        "model": _model(config),
        "parameters": record.parameters.get("total"),
        "train_rows": record.rows.get("train"),
        "evaluation_rows": record.rows.get("evaluation"),
        "probe_rows": min(sizes, default=None),
        "learning_rate": config.get("method.optim.lr"),
        "searched": any(each.startswith("best=") for each in record.overrides),
        "versions": ", ".join(f"{p} {record.versions[p]}" for p in SHOWN if p in record.versions),
        "changed_code": record.git.get("dirty"),
        "ended": (record.ended or "")[:10] or None,  # the day: a study killed in between ends alike
    }


def _model(config: dict[str, Any]) -> str | None:
    """The model's name, of a folder its own alone; ``tiny`` is made here."""
    path, name = config.get("model.path"), config.get("model.name")
    if name == "tiny":
        return "tiny"
    shown = Path(path).name if path else name
    said = "with random weights" if config.get("model.weights") == "random" else None
    if config.get("model.copy") == "dequantised":
        said = "(4-bit weights, dequantised)"
    return f"{shown} {said}" if shown and said else shown
