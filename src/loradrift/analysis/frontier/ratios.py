"""What an arm costs at the accuracies that it and the baseline reach, against the baseline.

A seed's value is its mean log ratio over these accuracies (:mod:`loradrift.statistics.matched`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.effects import EQUAL
from loradrift.analysis.tables import interval_row
from loradrift.statistics import (
    Curve,
    Interval,
    Matched,
    envelope,
    matched,
    sign_flip,
    t_interval,
)

LESS, MORE, EQUALS, UNDECIDED = "less", "more", "equal", "undecided"
NOT_LEARNED, APART = "not learned", "no accuracy that both reach"
DIVERGED = "diverged at every rate"
COLLAPSED = "diverged or collapsed at every rate"

ONE_SEED = "one seed tells nothing of others"
NO_WIDTH = "all seeds agree to the last digit, so the interval has no width"

Curves = Mapping[int, Curve]
"""Seed -> an arm's scores and costs on one task."""


class Side(NamedTuple):
    """One arm on one task: its curves over drift (logarithms) and over forgetting (nats)."""

    drift: Curves
    forgetting: Curves

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the largest score of its envelopes, over seeds; NaN without a score."""
        ends = [envelope(*curve).scores[[0, -1]] for curve in self.drift.values()]
        lows, highs = ([float(end[which]) for end in ends] for which in (0, -1))
        return min(lows, default=np.nan), max(highs, default=np.nan)

    def without(self, seeds: Collection[int]) -> "Side":
        """The curves of the other seeds."""
        kept = ({s: c for s, c in each.items() if s not in seeds} for each in self)
        return Side(*kept)


class Pairs(NamedTuple):
    """Both arms' curves of the seeds that both have, on the scores from ``low`` on."""

    treatment: Curves
    control: Curves
    low: float
    """The score of the best constant answer; -inf where it is not known."""

    def matched(self, low: float = -np.inf, high: float = np.inf) -> dict[int, Matched]:
        """Seed -> its mean difference; without seeds that have no common score."""
        ends = max(low, self.low), high
        found = {
            seed: matched(own, self.control[seed], *ends)
            for seed, own in self.treatment.items()
            if seed in self.control
        }
        return {seed: each for seed, each in found.items() if each is not None}

    @property
    def shared(self) -> tuple[float, float] | None:
        """The scores that both reach with every seed that has a common one; None without any."""
        found = self.matched().values()
        low, high = (
            max((each.low for each in found), default=np.inf),
            min((each.high for each in found), default=-np.inf),
        )
        return (low, high) if low < high else None


def side_of(points: pd.DataFrame) -> Side:
    """The curves of an arm's points on one task; runs that diverged have no place on them."""
    whole = points[~points["diverged"]]
    logs = whole.assign(cost=np.log(whole["drift"]))
    return Side(_curves(logs), _curves(whole.assign(cost=whole["forgetting"])))


def _curves(points: pd.DataFrame) -> dict[int, Curve]:
    known = points[np.isfinite(points["cost"]) & np.isfinite(points["score"])]
    return {
        int(str(seed)): Curve(own["score"].to_numpy(), own["cost"].to_numpy())
        for seed, own in known.groupby("seed")
    }


def log_ratios(pairs: Pairs) -> dict[int, Matched]:
    """Seed -> its mean log ratio of costs; empty if one of the costs it is made of is not positive.

    Costs at other scores than those that both reach take no part, of whatever sign they are.
    """
    found = pairs.matched()
    sides = [
        {seed: _between(side[seed], each.low, each.high) for seed, each in found.items()}
        for side in (pairs.treatment, pairs.control)
    ]
    if any((curve.costs <= 0).any() for side in sides for curve in side.values()):
        return {}
    treatment, control = (
        {seed: Curve(curve.scores, np.log(curve.costs)) for seed, curve in side.items()}
        for side in sides
    )
    return Pairs(treatment, control, pairs.low).matched()


def _between(curve: Curve, low: float, high: float) -> Curve:
    """The settings on the envelope that say what the scores from low to high cost."""
    scores, costs = envelope(*curve)
    first = np.searchsorted(scores, low, side="right") - 1
    last = np.searchsorted(scores, high, side="left") + 1
    return Curve(scores[first:last], costs[first:last])


class Judged(NamedTuple):
    """What an interval of log ratios says."""

    verdict: str
    why: str = ""
    """What keeps it from a verdict."""


def judge(interval: Interval) -> Judged:
    """Less or more than the baseline, equal between 0.8 and 1.25, or undecided.

    An interval without width, of seeds that agree to the last digit, decides nothing.

    >>> [judge(Interval(0, *ends, 2, 0.95)).verdict for ends in ((-1, -0.1), (-0.2, 0.1), (-1, 1))]
    ['less', 'equal', 'undecided']
    """
    if np.isnan(interval.low):
        return Judged(UNDECIDED, ONE_SEED)
    if interval.note:
        return Judged(UNDECIDED, NO_WIDTH)
    if interval.high < 0:
        return Judged(LESS)
    if interval.low > 0:
        return Judged(MORE)
    if np.log(EQUAL[0]) < interval.low and interval.high < np.log(EQUAL[1]):
        return Judged(EQUALS)
    return Judged(UNDECIDED, "the interval holds 1")


def compare(treatment: Side, control: Side, low: float, rng: np.random.Generator) -> dict[str, Any]:
    """A row of the table of comparisons: ratios and their intervals at 95 %.

    ``low`` is the least score of interest; ``rng`` draws flips beyond 40 seeds. Without a score
    that both reach, ``dominates`` says whether one of them reaches more with less drift.
    """
    (least, most), (others_least, others_most) = treatment.reach, control.reach
    row: dict[str, Any] = {
        "arm_from": least, "arm_to": most,
        "baseline_from": others_least, "baseline_to": others_most, "constant": low,
    }  # fmt: skip
    pairs = Pairs(treatment.drift, control.drift, low)
    found = pairs.matched()
    both = sorted(treatment.drift.keys() & control.drift.keys())
    row |= {
        "seeds": ", ".join(map(str, found)), "num_seeds": len(found),
        "seeds_apart": "; ".join(_ranges(pairs, seed) for seed in both if seed not in found),
        "seeds_missing": _seeds(control.drift.keys() - treatment.drift.keys()),
        "baseline_seeds_missing": _seeds(treatment.drift.keys() - control.drift.keys()),
        "dominates": "",
        "from": _mean([each.low for each in found.values()]),
        "to": _mean([each.high for each in found.values()]),
    }  # fmt: skip
    row |= _ratio("drift", found, rng)
    if found:
        judged = judge(t_interval([each.difference for each in found.values()]))
        row |= {"verdict": judged.verdict, "why": judged.why}
    elif not (treatment.drift and control.drift):
        row |= {"verdict": DIVERGED, "why": ""}
    else:
        row |= {"verdict": APART, "why": why_apart(pairs), "dominates": _dominates(pairs)}
    nats = Pairs(treatment.forgetting, control.forgetting, low)
    row |= _ratio("forgetting", log_ratios(nats), rng)
    lost = nats.matched()
    more = [each.difference for each in lost.values()]
    row |= interval_row("nats", more) | _flips("nats", more, rng)
    return row | {"forgetting_seeds": ", ".join(map(str, lost))}


def why_apart(pairs: Pairs) -> str:
    """Why no score is compared, where the ranges over seeds do not say it; else empty."""
    if not pairs.treatment.keys() & pairs.control.keys():
        return "they share no seed"
    if Pairs(pairs.treatment, pairs.control, -np.inf).matched():
        return f"what both reach is not above the best constant answer, {pairs.low:.3g}"
    ends = [Side(curves, {}).reach for curves in (pairs.treatment, pairs.control)]
    overlap = max(low for low, _ in ends) <= min(high for _, high in ends)
    return "the ranges are over seeds, and with no seed both reach the same" if overlap else ""


def _dominates(pairs: Pairs) -> str:
    """``arm`` or ``baseline``, if it reaches more with less drift with every seed; else empty."""
    seeds = pairs.treatment.keys() & pairs.control.keys()
    for name, side, other in (
        ("arm", pairs.treatment, pairs.control), ("baseline", pairs.control, pairs.treatment),
    ):  # fmt: skip
        both = [(envelope(*side[seed]), envelope(*other[seed])) for seed in seeds]
        if both and all(
            own.scores[0] >= low.scores[-1] and own.costs[0] <= low.costs[0] for own, low in both
        ):
            return name
    return ""


def _seeds(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _ranges(pairs: Pairs, seed: int) -> str:
    """What either arm reaches with a seed: ``42: 0.85 to 0.86 against 0.87 to 0.9``."""
    arms = (Side({seed: curves[seed]}, {}).reach for curves in (pairs.treatment, pairs.control))
    return f"{seed}: {' against '.join(f'{least:.3g} to {most:.3g}' for least, most in arms)}"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _ratio(name: str, found: Mapping[int, Matched], rng: np.random.Generator) -> dict[str, Any]:
    logs = [each.difference for each in found.values()]
    row = {key: float(np.exp(value)) for key, value in interval_row(name, logs).items()}
    by_seed = ", ".join(f"{np.exp(each):.3g}" for each in logs)
    return row | _flips(name, logs, rng) | {f"{name}_by_seed": by_seed}


def _flips(name: str, values: Sequence[float], rng: np.random.Generator) -> dict[str, float]:
    test = sign_flip(values, rng=rng) if values else None
    ends = (test.p, test.least_p) if test else (np.nan, np.nan)
    return dict(zip((f"{name}_p", f"{name}_least_p"), ends, strict=True))
