"""Whether the trait rises with the dose: the rank correlation of doses and mean scores.

Kendall's tau counts the pairs of doses in which the larger one has the higher mean score, less
those in which it has the lower one. An arm that does nothing can have any tau, and one that has
reached the highest score falls and rises by luck: a dose-response is monotone if it rises as a
whole and no step of it falls, both beyond what questions drawn again would explain.
"""

# Shape suffixes: D doses, P pairs of doses, R resamples.

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.steering_cells.resampled import draws
from loradrift.statistics.bounded import expanded_tail
from loradrift.statistics.values import Array

COLUMNS = ["trait", "arm", "variant", "doses", "tau", "tau_low", "tau_high", "change",
           "change_low", "change_high", "falls", "monotone"]  # fmt: skip


def kendall(means: Array) -> Array:
    """Tau-a (...) of scores (..., D) at ascending doses; equal scores count nothing.

    Example:
        >>> float(kendall(np.array([1.0, 2.0, 5.0])))
        1.0
    """
    places = [(i, j) for j in range(means.shape[-1]) for i in range(j)]
    left, right = (np.array(side) for side in zip(*places, strict=True))
    found: Array = np.sign(means[..., right] - means[..., left]).mean(axis=-1)
    return found


def trend_table(curves: Sequence[Curve], seed: int) -> pd.DataFrame:
    """One row per trait and arm with at least three doses.

    ``falls`` counts the steps from a dose to the next whose interval lies below 0 (95 % of all
    steps together, after Bonferroni). A dose-response is ``monotone`` if there is none, and the
    interval of the whole change lies above 0.
    """
    rows: list[dict[str, Any]] = []
    for curve in curves:
        if len(curve.doses_D) < 3:
            continue
        n = curve.num_questions
        weights_RN = draws(curve.steered, seed, n)
        scores_ND = curve.traits_VND[1]
        tau, tau_R = float(kendall(scores_ND.mean(axis=0))), kendall(weights_RN @ scores_ND)
        ends = (np.nan, np.nan)
        if n > 1:
            tail = expanded_tail(n)
            ends = tuple(np.quantile(tau_R, [tail, 1 - tail]).tolist())
        means = [curve.trait_at(place, weights_RN) for place in range(len(curve.doses_D))]
        change = means[-1].minus(means[0]).interval(n)
        level = 1 - 0.05 / (len(means) - 1)
        steps = [after.minus(before).interval(n, level) for before, after in pairwise(means)]
        falls = sum(step.high < 0 for step in steps)
        rows.append(
            {
                "trait": curve.steered, "arm": curve.arm.kind, "variant": curve.arm.variant,
                "doses": len(curve.doses_D), "tau": tau, "tau_low": ends[0], "tau_high": ends[1],
                "change": change.estimate, "change_low": change.low, "change_high": change.high,
                "falls": falls, "monotone": falls == 0 and change.low > 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
