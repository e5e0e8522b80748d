"""Every arm against the baseline, by task: the tables ``comparisons``, ``parts``, ``along``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.frontier.grids import grid_text, lacking, left_out
from loradrift.analysis.frontier.parts import (
    CURVE_COLUMNS,
    PART_COLUMNS,
    along,
    crosses,
    parts_of,
)
from loradrift.analysis.frontier.ratios import (
    COLLAPSED,
    DIVERGED,
    NOT_LEARNED,
    Pairs,
    Side,
    compare,
    side_of,
)
from loradrift.analysis.frontier.reading import arm_label, is_frozen

NAMES = ("task", "arm", "baseline", "label")


def comparison_tables(
    points: pd.DataFrame, learned: pd.DataFrame, arms: Sequence[str], rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Each task's arms against the first of the ``arms``; frozen ones are in no comparison."""
    baseline, *others = arms
    rows, parts, curves = [], list[dict[str, Any]](), list[pd.DataFrame]()
    for task, own in points.groupby("task", sort=False):
        by_arm = {str(arm): each for arm, each in own.groupby("arm", sort=False)}
        judged = learned[learned["task"] == task].set_index("arm")
        for arm in [each for each in others if each in by_arm and not is_frozen(each)]:
            if baseline not in by_arm:
                continue
            place = {"task": task, "arm": arm, "baseline": baseline, "label": arm_label(arm)}
            sides, grid = _sides(by_arm, arm, baseline)
            row = place | _row(sides, judged.reindex([arm, baseline]), rng) | {"grid": grid}
            lost = [
                each for each, side in zip((arm, baseline), sides, strict=True) if not side.drift
            ]
            if not own.loc[own["arm"].isin(lost), "diverged"].all():
                row["verdict"] = COLLAPSED
            rows.append(row)
            if row["verdict"] in (DIVERGED, COLLAPSED, NOT_LEARNED):
                continue
            pairs = Pairs(sides[0].drift, sides[1].drift, row["constant"])
            thirds = parts_of(pairs)
            row["crosses"] = crosses(thirds)
            parts += [place | part for part in thirds]
            curves.append(along(pairs).assign(task=task, arm=arm))
    empty = pd.DataFrame(columns=[*NAMES[:2], *CURVE_COLUMNS])
    return {
        "comparisons": pd.DataFrame(rows, columns=None if rows else [*NAMES, "verdict"]),
        "parts": pd.DataFrame(parts, columns=[*NAMES, *PART_COLUMNS]),
        "along": pd.concat([each for each in curves if len(each)] or [empty], ignore_index=True),
    }


def _sides(
    by_arm: Mapping[str, pd.DataFrame], arm: str, baseline: str
) -> tuple[tuple[Side, Side], str]:
    """Both arms' curves without the seeds that lack rates, and what is to be said of the grids."""
    one, other = (side_of(by_arm[each]) for each in (arm, baseline))
    shared = one.drift.keys() & other.drift.keys()
    out = left_out(shared, *(lacking(by_arm[each]) for each in (arm, baseline)))
    return (one.without(out), other.without(out)), grid_text(arm, baseline, by_arm, shared)


def _row(
    sides: tuple[Side, Side], judged: pd.DataFrame, rng: np.random.Generator
) -> dict[str, Any]:
    """The figures of a comparison; ``judged`` has what the arm learned, then the baseline.

    An arm that diverged with every run has a row without values.
    """
    constant = float(judged["baseline"].max())
    low = -np.inf if np.isnan(constant) else constant
    unlearned = judged.index[judged["learned"].eq(False).fillna(False)]
    # no score counts where one of them does not beat the constant answer
    row = compare(*sides, np.inf if len(unlearned) else low, rng)
    row |= {"constant": low, "unlearned": ", ".join(unlearned), "crosses": False}
    if len(unlearned) and row["verdict"] != DIVERGED:
        row |= {"verdict": NOT_LEARNED, "why": "", "dominates": ""}
    return row
