"""The answers that two judges were given, of all steering cells below ``runs``."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from loradrift.config import UserError
from loradrift.config.errors import one_of
from loradrift.files import read_json
from loradrift.judges.judged import read_judged
from loradrift.runs import read_record

COMMAND = "python benchmark.py benchmark=judging judge="


class Read(NamedTuple):
    """What both judges said."""

    first: str
    second: str
    rows: pd.DataFrame
    """A row per answer and trait: ``cell``, ``steered``, ``arm``, ``coefficient``, ``measure`` (the
    trait judged), ``id``, ``question``, ``answer``, and of both judges ``first``,
    ``first_coherence``, ``first_status``, ``second`` …"""

    facts: dict[str, Any]
    """Of each judge, what ``judge.json`` of a cell says."""


def read_both(runs: Path, first: str, second: str) -> Read:
    """Read what both judges said of the same answers.

    Raises:
        UserError: If no cell is judged, a judge is unknown or both are one, no answer was judged by
            both, or a file is damaged.
    """
    root = runs / "steering"
    places = sorted(root.glob("*/*/judged/*/judge.json"))
    names = sorted({path.parent.name for path in places})
    if not names:
        raise UserError(f"{root} holds no judged cell: `{COMMAND}<name>` judges all")
    first, second = (_found(key, n, names) for key, n in (("first", first), ("second", second)))
    if first == second:
        raise UserError(f"first and second must be two judges, got {first} for both")
    rows = []
    for cell in sorted({path.parents[2] for path in places}):
        sides = [cell / "judged" / name for name in (first, second)]
        for path in sorted(sides[0].glob("*.csv")):
            if (sides[1] / path.name).is_file():
                rows += _rows(cell, path, sides[1] / path.name)
    if not rows:
        raise UserError(
            f"no answer below {root} was judged by both {first} and {second} for the same trait: "
            f"`{COMMAND}<name>` judges all"
        )
    facts = {name: _facts(next(path for path in places if path.parent.name == name))
             for name in (first, second)}  # fmt: skip
    return Read(first, second, pd.DataFrame(rows), facts)


def _found(key: str, typed: str, names: list[str]) -> str:
    """The judge that is meant: that name, or the only one that begins with it."""
    if typed in names:
        return typed
    begun = [name for name in names if name.startswith(f"{typed}-")]
    if len(begun) == 1:
        return begun[0]
    raise UserError(f"{key} must be {one_of(begun or names)}, got {typed}")


def _rows(cell: Path, first: Path, second: Path) -> list[dict[str, Any]]:
    """The answers of one cell and trait that stand in both files."""
    record = read_record(cell)
    config = record.config if record else {}
    place = {
        "cell": cell.relative_to(cell.parents[1]).as_posix(),
        "steered": config.get("trait"),
        "arm": config.get("arm"),
        "coefficient": config.get("coefficient"),
        "measure": first.stem,
    }
    other = {item: score for item, score in read_judged(second)}
    rows = []
    for item, score in read_judged(first):
        if item not in other:
            continue
        said: dict[str, Any] = {}
        for side, own in (("first", score), ("second", other[item])):
            said |= {side: own.trait, f"{side}_coherence": own.coherence}
            said[f"{side}_status"] = str(own.status)
        rows.append(place | item._asdict() | said)
    return rows


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = read_json(path)
    except (OSError, ValueError):
        return {}
    return facts
