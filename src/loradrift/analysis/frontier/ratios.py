"""What an arm costs at the accuracies that it and the baseline reach, against the baseline.

A seed's value is its mean log ratio over these accuracies (:mod:`loradrift.statistics.matched`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.effects import EQUAL
from loradrift.statistics import (
    Curve,
    Interval,
    Matched,
    cost_of,
    envelope,
    matched,
    sign_flip,
    t_interval,
)

LESS, MORE, EQUALS, UNDECIDED = "less", "more", "equal", "undecided"
NOT_LEARNED, APART = "not learned", "no accuracy that both reach"

PARTS = ("low", "middle", "high")
"""Thirds of the accuracies that all seeds of both arms reach."""

PART_COLUMNS = ("part", "from", "to", "verdict", "drift", "drift_low", "drift_high")
CURVE_COLUMNS = ("score", "ratio", "ratio_low", "ratio_high")

POINTS = 41
"""Accuracies at which a figure draws the ratio."""

Curves = Mapping[int, Curve]
"""Seed -> an arm's scores and costs on one task."""


class Side(NamedTuple):
    """One arm on one task: its curves over drift (logarithms) and over forgetting (nats)."""

    drift: Curves
    forgetting: Curves

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the largest score of its envelopes, over seeds."""
        ends = [envelope(*curve).scores[[0, -1]] for curve in self.drift.values()]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


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
        """The scores that every seed of both arms reaches; None if there are none."""
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


def logarithms(one: Curves, other: Curves) -> tuple[Curves, Curves] | None:
    """Both arms' curves with the logarithms of costs; None if a cost is not positive."""
    if not all((curve.costs > 0).all() for side in (one, other) for curve in side.values()):
        return None
    first, second = (
        {seed: Curve(curve.scores, np.log(curve.costs)) for seed, curve in side.items()}
        for side in (one, other)
    )
    return first, second


class Judged(NamedTuple):
    """What an interval of log ratios says."""

    verdict: str
    why: str = ""
    """What keeps it from a verdict."""


def judge(interval: Interval) -> Judged:
    """Less or more than the baseline, equal between 0.8 and 1.25, or undecided.

    >>> [judge(Interval(0, *ends, 2, 0.95)).verdict for ends in ((-1, -0.1), (-0.2, 0.1), (-1, 1))]
    ['less', 'equal', 'undecided']
    """
    if np.isnan(interval.low):
        return Judged(UNDECIDED, "one seed tells nothing of others")
    if interval.high < 0:
        return Judged(LESS)
    if interval.low > 0:
        return Judged(MORE)
    if np.log(EQUAL[0]) < interval.low and interval.high < np.log(EQUAL[1]):
        return Judged(EQUALS)
    return Judged(UNDECIDED, "the interval holds 1")


def compare(treatment: Side, control: Side, low: float, rng: np.random.Generator) -> dict[str, Any]:
    """A row of the table of comparisons: ratios and their intervals at 95 %.

    ``low`` is the least score of interest; ``rng`` draws flips beyond 40 seeds.
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
        "seeds_apart": ", ".join(str(seed) for seed in both if seed not in found),
        "from": _mean([each.low for each in found.values()]),
        "to": _mean([each.high for each in found.values()]),
    }  # fmt: skip
    row |= _ratio("drift", found, rng)
    if found:
        judged = judge(t_interval([each.difference for each in found.values()]))
        row |= {"verdict": judged.verdict, "why": judged.why}
    else:
        row |= {"verdict": APART, "why": "" if both else "they share no seed"}
    nats = Pairs(treatment.forgetting, control.forgetting, low)
    forgotten = nats.matched()
    logs = logarithms(treatment.forgetting, control.forgetting)
    row |= _ratio("forgetting", Pairs(*logs, low).matched() if logs else {}, rng)
    row |= _interval("nats", [each.difference for each in forgotten.values()])
    return row


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _interval(name: str, values: Sequence[float]) -> dict[str, float]:
    """An interval as columns of a table; NaN where there is none."""
    ends = t_interval(values)[:3] if values else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _ratio(name: str, found: Mapping[int, Matched], rng: np.random.Generator) -> dict[str, Any]:
    logs = [each.difference for each in found.values()]
    row = {key: float(np.exp(value)) for key, value in _interval(name, logs).items()}
    test = sign_flip(logs, rng=rng) if logs else None
    return row | {
        f"{name}_p": test.p if test else np.nan,
        f"{name}_least_p": test.least_p if test else np.nan,
        f"{name}_by_seed": ", ".join(f"{np.exp(each):.3g}" for each in logs),
    }


def parts_of(pairs: Pairs) -> list[dict[str, Any]]:
    """Ratios in each third of the shared scores, at a level for all three together.

    No rows where no score is shared by all seeds, or there is one seed.
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
