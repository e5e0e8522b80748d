"""Where an arm drifts less: the ratio in each third of the scores, and score by score."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.frontier.ratios import LESS, MORE, Pairs, judge
from loradrift.statistics import cost_of, envelope, t_interval

PARTS = ("low", "middle", "high")
"""Thirds of the accuracies that both arms reach with every seed that has a common one."""

PART_COLUMNS = ("part", "from", "to", "verdict", "drift", "drift_low", "drift_high")
CURVE_COLUMNS = ("score", "ratio", "ratio_low", "ratio_high")

POINTS = 41
"""Accuracies at which a figure draws the ratio."""


def parts_of(pairs: Pairs) -> list[dict[str, Any]]:
    """Ratios in each third of the shared scores, at a level for all three together.

    No rows where no score is shared by all seeds that have a common one, or there is one seed.
    """
    if pairs.shared is None or len(pairs.matched()) < 2:
        return []
    ends, rows = np.linspace(*pairs.shared, len(PARTS) + 1), []
    for name, low, high in zip(PARTS, ends[:-1], ends[1:], strict=True):
        logs = [each.difference for each in pairs.matched(low, high).values()]
        interval = t_interval(logs, confidence=1 - 0.05 / len(PARTS))
        ratio, lower, upper = np.exp(interval[:3])
        place = {"part": name, "from": low, "to": high, "verdict": judge(interval).verdict}
        rows.append(place | {"drift": ratio, "drift_low": lower, "drift_high": upper})
    return rows


def crosses(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the ratio is below 1 in one third and above 1 in another."""
    return {LESS, MORE} <= {part["verdict"] for part in parts}


def along(pairs: Pairs) -> pd.DataFrame:
    """The ratio by score, from the least shared one to the largest, with its 95 % interval."""
    if pairs.shared is None:
        return pd.DataFrame(columns=[*CURVE_COLUMNS], dtype=float)
    scores_Y = np.linspace(*pairs.shared, POINTS)
    logs_SY = [
        cost_of(envelope(*pairs.treatment[seed]), scores_Y)
        - cost_of(envelope(*pairs.control[seed]), scores_Y)
        for seed in pairs.matched()
    ]
    intervals = [t_interval(logs_S)[:3] for logs_S in np.transpose(logs_SY)]
    rows = [(score, *np.exp(each)) for score, each in zip(scores_Y, intervals, strict=True)]
    return pd.DataFrame(rows, columns=[*CURVE_COLUMNS])
