"""How overheads are looked up and written."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from loradrift.analysis.serving.tables import Measured


def contrast_row(
    measured: Measured, arm: str, against: str, load: float | None = None
) -> Mapping[str, Any] | None:
    """The offline overhead of an arm; at the load that reports look at, if none is given."""
    table = measured.overheads
    chosen = measured.load if load is None else load
    own = table[
        (table["phase"] == "offline") & (table["load"] == chosen)
        & (table["arm"] == arm) & (table["against"] == against)
    ]  # fmt: skip
    rows: list[Mapping[str, Any]] = own.to_dict("records")  # type: ignore[assignment]
    return rows[0] if rows else None


def says_slower(row: Mapping[str, Any]) -> bool:
    """Whether the whole interval lies above 1."""
    return bool(row["low"] > 1)


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
