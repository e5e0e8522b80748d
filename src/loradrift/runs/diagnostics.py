"""A run's ``diagnostics.jsonl``: one JSON object for each evaluation while it trained."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loradrift.files import write_atomic
from loradrift.runs.reading import damaged


def write_diagnostics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically; a number that is not finite is null."""
    lines = [json.dumps(_plain(row), allow_nan=False) + "\n" for row in rows]
    with write_atomic(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_diagnostics(path: Path) -> list[dict[str, Any]]:
    """The evaluations, in order of their ``step``; none where there is no file.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        if bad := [row for row in rows if not isinstance(row, dict) or "step" not in row]:
            raise ValueError(f"{json.dumps(bad[0])} is no evaluation")
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise damaged(path, str(error)) from None
    return rows
