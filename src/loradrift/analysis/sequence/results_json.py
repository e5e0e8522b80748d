"""``sequence.json``: what was found, in numbers for other programs."""

from typing import Any

from loradrift.analysis.plain_json import plain, rows
from loradrift.analysis.sequence.sentences import answer, diverged_lines
from loradrift.analysis.sequence.tables import ChainReport

UNITS = {
    "score": "the task's metric in percent on the reported rows, of the checkpoint that validation "
    "chose",
    "drift": "1 - CKA against the very first model, mean over layers; geometric mean over seeds "
    "and, of a step, over the probes of the tasks so far",
    "neutral": "rise of the loss on neutral text since the very first model, nats per token",
    "value, difference": "points of percent; of neutral and drift the unit of these",
    "ratio": "times the baseline's",
    "*_low, *_high": "95 % t interval over seeds",
    "rows_low, rows_high": "95 % jackknife interval over evaluated rows, for these seeds",
}


def sequence_json(found: ChainReport) -> dict[str, Any]:
    """Everything; what is not defined is null."""
    record = found.chains[0].runs[0].record
    content: dict[str, Any] = plain(
        {
            "schema": 1,
            "answer": answer(found),
            "study": found.study,
            "order": list(found.order),
            "model": record.config.get("model", {}).get("name"),
            "base_model": record.fingerprints.get("base_model"),
            "data": record.config.get("data", {}).get("name"),
            "baseline": found.baseline,
            **{name: rows(table) for name, table in found.tables.items() if name != "layers"},
            "diverged": diverged_lines(found),
            "problems": list(found.problems),
            "units": UNITS,
        }
    )
    return content
