"""How overheads are looked up and written."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pandas as pd

from loradrift.analysis.serving.overheads import LEAST_ROUNDS
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.verdict import rounds_text
from loradrift.report.blocks import interval_text


def contrast_row(measured: Measured, arm: str, against: str) -> Mapping[str, Any] | None:
    """The overhead of an arm at the load that reports look at; None where none is known."""
    table = measured.overheads
    own = table[
        (table["phase"] == measured.cell.phase) & (table["load"] == measured.load)
        & (table["arm"] == arm) & (table["against"] == against)
    ]  # fmt: skip
    rows: list[Mapping[str, Any]] = own.to_dict("records")  # type: ignore[assignment]
    return rows[0] if rows else None


class Cost(StrEnum):
    """What an interval says of a cost."""

    SHOWN = "shown"
    """It is wholly above 1, and not wholly below :data:`WORTH`."""

    SAVES = "saves"
    """It is wholly below the reciprocal of :data:`WORTH`."""

    SMALL = "small"
    """It is wholly below :data:`WORTH`."""

    UNDECIDED = "undecided"


WORTH = 1.10
"""The ratio from which a cost is worth a word."""


def cost(row: Mapping[str, Any]) -> Cost:
    """What an overhead's interval says; of few rounds nothing.

    Example:
        >>> str(cost({"low": 1.02, "high": 1.4, "rounds": 5}))
        'shown'
    """
    if row["rounds"] < LEAST_ROUNDS:
        return Cost.UNDECIDED
    if row["high"] < WORTH:
        return Cost.SAVES if row["high"] < 1 / WORTH else Cost.SMALL
    return Cost.SHOWN if row["low"] > 1 else Cost.UNDECIDED


def time_cost(row: Mapping[str, Any], than: str = "") -> str:
    """An overhead in words, with what its interval leaves open.

    Example:
        >>> time_cost({"ratio": 1.4, "low": 0.9, "high": 2.2, "rounds": 5}, "as merged models")
        '1.4 times as long as merged models (0.9 to 2.2: undecided)'
    """
    ends, rounds = interval_text(row["low"], row["high"]), row["rounds"]
    few = f" with {rounds_text(rounds)}" if rounds < LEAST_ROUNDS else ""
    notes = {
        Cost.SMALL: f"less than {100 * (WORTH - 1):.0f} % longer",
        Cost.UNDECIDED: f"undecided{few}",
    }
    note = notes.get(cost(row))
    said = ": ".join(each for each in ("" if ends == "-" else ends, note) if each)
    return " ".join(filter(None, [f"{row['ratio']:.3g} times as long", than, said and f"({said})"]))


def overhead_text(row: Mapping[str, Any] | None) -> str:
    """``+85 % (+84 to +87)``; a dash where nothing is compared."""
    return "-" if row is None else ratio_text(row["ratio"], row["low"], row["high"])


def ratio_text(ratio: float, low: float, high: float) -> str:
    """A ratio as an overhead, without decimals from ten percent on.

    Example:
        >>> ratio_text(1.853, 1.838, 1.869), ratio_text(1.021, float("nan"), float("nan"))
        ('+85 % (+84 to +87)', '+2.1 %')
    """
    percents = [100 * (float(each) - 1) for each in (ratio, low, high)]
    digits = 0 if abs(percents[0]) >= 10 else 1
    said = [f"{each:+.{digits}f}" for each in percents]
    return f"{said[0]} %" if pd.isna(low + high) else f"{said[0]} % ({said[1]} to {said[2]})"
