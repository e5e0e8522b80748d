"""Whether rounds are what the intervals take them for: alike, and in no order that matters.

On the log scale a call's time is the sum of its arm's and load's level, of its round's, and of a
rest. Nothing is dropped for what is found here: it is said, so that a reader can judge.
"""

# Shape suffixes: R rounds.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from loradrift.analysis.serving.overheads import LEAST_ROUNDS
from loradrift.analysis.serving.verdict import H3, judge
from loradrift.report.verdicts import Verdict
from loradrift.statistics import t_interval
from loradrift.statistics.values import Array

FAR, LEAST_FAR = 5.0, 0.10
"""A call is far off if its rest is beyond so many robust deviations, and 10 % at least."""


OUTLIERS = ["load", "arm", "round", "order", "ratio"]
MANY = 0.05
"""If more than this share of the calls is far off, something else was running."""

NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""

BUSY = 0.10
"""Calls of an idle machine scatter by less."""


class Stability(NamedTuple):
    """What was found, as sentences, and the calls that are far off."""

    lines: Sequence[str]
    outliers: pd.DataFrame
    """Columns :data:`OUTLIERS`; ``ratio`` is that to what was expected."""


def check_rounds(calls: pd.DataFrame, verdict: H3) -> Stability:
    """Look at the offline rounds of a cell."""
    own = calls[calls["phase"] == "offline"]
    if own.empty:
        return Stability([], pd.DataFrame(columns=OUTLIERS))
    rests = add_rests(own)
    outliers = far_off(rests)
    lines = [first_round(own), order_effect(own), scatter(rests), _said_of(outliers, len(own)),
             *without_a_round(verdict)]  # fmt: skip
    return Stability([line for line in lines if line], outliers)


def add_rests(calls: pd.DataFrame) -> pd.DataFrame:
    """The calls with ``rest``: the log of the time, without its arm's, load's and round's level.

    Medians (one sweep of Tukey's median polish), so that a call that is far off does not move what
    it is held against.
    """
    y, kind = np.log(calls["call_s"]), [calls["arm"], calls["load"]]
    level = (y - y.groupby(kind).transform("median")).groupby(calls["round"]).transform("median")
    rest = y - level
    return calls.assign(rest=rest - rest.groupby(kind).transform("median"))


def first_round(calls: pd.DataFrame) -> str:
    """Whether the first round's level is what the others let expect; empty for few rounds.

    A level is a median of differences from means over rounds: a median over rounds is one of them,
    so that the levels of quiet rounds would all be 0.
    """
    y = np.log(calls["call_s"])
    off = y - y.groupby([calls["arm"], calls["load"]]).transform("mean")
    levels_R = off.groupby(calls["round"]).median().sort_index().to_numpy()
    if len(levels_R) < 4:
        return ""
    difference, half = unlike_others(levels_R)
    said = f"The first round was {_than(difference)} than the others' mean"
    expected = f"the others vary by up to {100 * np.expm1(half):.1f} %"
    if abs(difference) <= half:
        return f"{said}; {expected}, so this is normal."
    why = "was still warming up" if difference > 0 else "was in another state"
    return (
        f"{said}, and {expected}: the machine or an engine {why}. What this did to all arms alike "
        "cancels in overheads."
    )


def _than(difference: float) -> str:
    """A difference of logs of times: ``12.3 % slower``."""
    word = "slower" if difference > 0 else "faster"
    return f"{abs(100 * np.expm1(difference)):.1f} % {word}"


def unlike_others(values_R: Array) -> tuple[float, float]:
    """How far the first value is from the others' mean, and half its 95 % prediction interval.

    Example:
        >>> unlike_others(np.array([3.0, 1.0, 1.0, 1.0]))
        (2.0, 0.0)
    """
    first, others = values_R[0], values_R[1:]
    n = len(others)
    half = special.stdtrit(n - 1, 0.975) * others.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(first - others.mean()), float(half)


def order_effect(calls: pd.DataFrame) -> str:
    """Whether calls late in a round took longer; empty where it cannot be told."""
    slope = slope_over_places(calls)
    if slope is None:
        return ""
    low, high = (100 * np.expm1(each) for each in slope[1:])
    matters = "Arms are in random order, so this favours none" if low * high > 0 else (
        "No effect of the order is seen"
    )  # fmt: skip
    return (
        f"A round's last call was {_than(slope[0])} than its first (95 % interval of the "
        f"difference {low:+.1f} to {high:+.1f} %). {matters}."
    )


def slope_over_places(calls: pd.DataFrame) -> tuple[float, float, float] | None:
    """By how much the log of the time grows from a round's first place to its last.

    Least squares with a level of each arm and load and of each round, so that who came early does
    not matter: the slope and its 95 % interval; None where too few calls are left for them.
    """
    if len(calls) < 3:
        return None
    count = calls.groupby("round")["order"].transform("max")
    place = ((calls["order"] - 1) / (count - 1).clip(lower=1)).to_numpy()
    kinds = calls["arm"] + " " + calls["load"].astype(str)
    levels = pd.concat([pd.get_dummies(kinds), pd.get_dummies(calls["round"])], axis=1)
    design = np.column_stack([place, levels.to_numpy(dtype=float)])
    y = np.log(calls["call_s"].to_numpy())
    fitted, _, rank, _ = np.linalg.lstsq(design, y)
    df = len(y) - int(rank)
    others = np.linalg.lstsq(design[:, 1:], place)[0]
    own = place - design[:, 1:] @ others  # of the place, what no level explains
    if df < 1 or own @ own < 1e-9:
        return None
    variance = float(np.square(y - design @ fitted).sum()) / df / float(own @ own)
    half = float(special.stdtrit(df, 0.975)) * variance**0.5
    return float(fitted[0]), float(fitted[0]) - half, float(fitted[0]) + half


def far_off(rests: pd.DataFrame) -> pd.DataFrame:
    """The calls whose time is far from what their arm, load and round let expect."""
    off = rests["rest"].abs()
    chosen = rests[off > max(FAR * NORMAL * off.median(), np.log1p(LEAST_FAR))]
    table: pd.DataFrame = chosen.assign(ratio=np.exp(chosen["rest"]))
    return table.filter(OUTLIERS).reset_index(drop=True)


def scatter(rests: pd.DataFrame) -> str:
    """How much the same call's time differs between rounds; empty of one round.

    From differences of successive rounds: a rest is taken from the median of few rounds, which is
    one of them, so that rests themselves are too small.
    """
    differences = rests.sort_values("round").groupby(["arm", "load"])["rest"].diff().dropna()
    if differences.empty:
        return ""
    deviation = np.expm1(NORMAL * float(differences.abs().median()) / np.sqrt(2))
    said = f"From round to round a call's time scatters by {100 * deviation:.2g} %"
    if deviation <= BUSY:
        return f"{said}."
    return (
        f"{said}: as if something else was running on this machine. Intervals are wide, and only "
        "extreme calls count as outliers: measure again on an idle machine."
    )


def _said_of(outliers: pd.DataFrame, count: int) -> str:
    if outliers.empty:
        return (
            f"No call of {count:,} is an outlier ({FAR:g} robust deviations, and "
            f"{100 * LEAST_FAR:g} %, from the median of its arm, batch and round)."
        )
    many = len(outliers) > MANY * count
    worst = outliers["ratio"].iloc[int(np.log(outliers["ratio"]).abs().argmax())]
    return (
        f"Outliers among {count:,} calls: {len(outliers)} (the furthest took {worst:.2f} times as "
        "long as expected of its arm, batch and round). They are in all figures."
        + (" With so many, something else was running on this machine." if many else "")
    )


def without_a_round(verdict: H3) -> list[str]:
    """Whether one round alone decides H3."""
    d_R = np.asarray(verdict.log_ratios)
    if verdict.verdict is Verdict.NO_DATA or len(d_R) < LEAST_ROUNDS:
        return []
    ratios, changed = [], []
    for place, number in enumerate(verdict.of_rounds):
        found = t_interval(np.delete(d_R, place))
        ratio, low, high = np.exp(found[:3])
        ratios.append(ratio)
        without = judge(float(low), float(high), LEAST_ROUNDS)
        if without is not verdict.verdict:
            changed.append(f"{without} without round {number}")
    said = f"Without one round H3's ratio is {min(ratios):.3g} to {max(ratios):.3g}"
    return [
        f"{said}; it would be {', '.join(changed)}." if changed else f"{said}: the same verdict."
    ]
