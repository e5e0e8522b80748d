"""Whether the trait rises with the dose: the rank correlation of doses and mean scores.

Kendall's tau counts the pairs of doses in which the larger one has the higher mean score, less
those in which it has the lower one: 1 is a monotone dose-response. An arm that does nothing can
have any tau, so the change from the smallest to the largest dose stands beside it.
"""

# Shape suffixes: D doses, P pairs of doses, R resamples.

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.steering_cells.resampled import draws
from loradrift.statistics.bounded import expanded_tail
from loradrift.statistics.values import Array

COLUMNS = ["trait", "arm", "variant", "doses", "tau", "tau_low", "tau_high", "change",
           "change_low", "change_high", "monotone"]  # fmt: skip


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

    A dose-response is ``monotone`` if every larger dose scores higher, and the interval of the
    whole change is above 0.
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
        last, first = (curve.trait_at(place, weights_RN) for place in (-1, 0))
        change = last.minus(first).interval(n)
        rows.append(
            {
                "trait": curve.steered, "arm": curve.arm.kind, "variant": curve.arm.variant,
                "doses": len(curve.doses_D), "tau": tau, "tau_low": ends[0], "tau_high": ends[1],
                "change": change.estimate, "change_low": change.low, "change_high": change.high,
                "monotone": tau == 1 and change.low > 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
