"""What a run said of each evaluation example."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loradrift.files import write_atomic, write_json


def write_predictions(
    folder: Path, lines: Iterable[dict[str, Any]], files: Mapping[str, Any]
) -> None:
    """Write ``predictions.jsonl``, one JSON object a line, unless there is none, and other files.

    Args:
        folder: Of the run.
        lines: One for each evaluation example.
        files: Name -> JSON.
    """
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if text:
        with write_atomic(folder / "predictions.jsonl") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, content in files.items():
        write_json(folder / name, content)


def write_lossy(folder: Path, lossy: Mapping[str, Sequence[str]]) -> None:
    """List the examples whose target is lost on the way to tokens; no file if none is.

    Args:
        folder: Of the run.
        lossy: Their ids by split.
    """
    if lossy:
        write_json(folder / "lossy_answers.json", dict(lossy))
