r"""How many times as long an arm takes as others, paired by round.

Within a round all arms are measured in random order, close in time, so that what slows a machine
down for a while slows all of them, and cancels in

    d_r = log t_r(arm) - mean over references of log t_r(reference),

t_r the wall time of the same requests' call in round r. The mean over rounds has a t interval; on
the scale of ratios it is exp(.) of both. A swap of the sides turns the ratio and both ends round.

The bootstrap interval draws rounds with repetition (percentiles, Efron 1979). With 5 rounds it is
too narrow, because 5 rounds drawn so spread by sqrt(4/5) of what 5 rounds do, and the normal's
quantile is not the t's: it stands beside, and decides nothing.
"""

# Shape suffixes: R rounds, A arms, K references.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from loradrift.analysis.serving.plans import Arm, Plan
from loradrift.statistics import hierarchical_bootstrap, t_interval
from loradrift.statistics.values import Array, finite

LEAST_ROUNDS = 5
"""Fewer give no verdict."""

NUM_RESAMPLES = 10_000
KEYS = ("phase", "load", "arm", "against")
FIGURES = ("ratio", "low", "high", "bootstrap_low", "bootstrap_high", "rounds")


class Overhead(NamedTuple):
    """How many times as long something takes; NaN ends where one round has no spread."""

    ratio: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    rounds: int
    log_ratios_R: Array
    """Of each round."""


def overhead(
    arms_RA: ArrayLike,
    references_RK: ArrayLike,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
) -> Overhead:
    """The geometric mean over rounds of an arm's time over its references', with 95 % intervals.

    Args:
        arms_RA: Seconds of the arm's call in each round, (R, 1), all positive; of several arms
            that count as one, (R, A).
        references_RK: Seconds of each reference's, (R, K).
        rng: Draws the bootstrap's rounds.
        num_resamples: How often it draws.

    Raises:
        ValueError: If a time is not finite and positive, or the rounds of the sides differ.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> round(overhead([[1.2], [2.4]], [[1.0], [2.0]], rng).ratio, 3)
        1.2
    """
    sides = finite(arms_RA, "arms_RA"), finite(references_RK, "references_RK")
    if any(side.ndim != 2 for side in sides) or len(sides[0]) != len(sides[1]):
        shapes = f"{sides[0].shape} and {sides[1].shape}"
        raise ValueError(f"both sides must be (rounds, arms) with the same rounds, got {shapes}")
    if (least := min(side.min() for side in sides)) <= 0:
        raise ValueError(f"times must be positive, got {least:g}")
    times_R, reference_R = (np.log(side).mean(axis=1) for side in sides)
    d_R = times_R - reference_R
    interval, ends = t_interval(d_R), (np.nan, np.nan)
    if len(d_R) > 1:
        drawn = hierarchical_bootstrap({"rounds": d_R[:, None]}, rng, num_resamples)
        ends = drawn.low, drawn.high
    low, high, bootstrap_low, bootstrap_high = np.exp([interval.low, interval.high, *ends])
    return Overhead(
        float(np.exp(interval.estimate)), float(low), float(high), float(bootstrap_low),
        float(bootstrap_high), len(d_R), d_R,
    )  # fmt: skip


class Contrast(NamedTuple):
    """What is compared: a name for each side, and the arms that it stands for."""

    arm: str
    arms: Sequence[str]
    against: str
    references: Sequence[str]


def contrasts(plan: Plan) -> list[Contrast]:
    """All that is compared.

    Every arm with all merged arms and with the base model, each setting with the arm that it
    changes one thing of, and several adapters with the fewest.
    """
    sides = {arm.name: [arm.name] for arm in plan.arms}
    multi = sorted(plan.of_kind("multi"), key=lambda arm: len(arm.adapters))
    found = []
    if plan.merged:
        sides["merged"] = plan.merged
        found += [(name, "merged") for name in sides if name not in {"merged", *plan.merged}]
    for base in plan.of_kind("baseline"):
        found += [(name, base.name) for name in sides if name != base.name]
    for arm in plan.arms:
        found += [(arm.name, other.name) for other in plan.arms if _one_setting(arm, other)]
    found += [(arm.name, multi[0].name) for arm in multi[1:]]
    return [Contrast(name, sides[name], other, sides[other]) for name, other in found]


def _one_setting(arm: Arm, other: Arm) -> bool:
    """Whether an arm serves the same adapters as the other one, and differs in one thing."""
    kinds = arm.kind, other.kind
    pairs = ("single", "merged"), ("multi", "engines"), ("few_in_memory", "few_slots")
    differs = kinds in pairs or (
        arm.kind in ("declared_rank", "few_slots") and other.kind in ("multi", "single")
    )
    return differs and arm.adapters == other.adapters


def overhead_table(calls: pd.DataFrame, plan: Plan, seed: int) -> pd.DataFrame:
    """Every contrast at every load where the calls' times can be compared.

    An open loop's call ends when its last request came: its time says nothing about the engine.
    A side is its arms that were measured at all in that phase; a round counts where it has every
    one of them.
    """
    rows = []
    closed = calls[calls["phase"] != "open_loop"]
    for (phase, load), own in closed.groupby(["phase", "load"], sort=False):
        times = own.pivot(index="round", columns="arm", values="call_s")
        for arm, arms, against, references in contrasts(plan):
            sides = [[name for name in side if name in times] for side in (arms, references)]
            complete = times[sides[0] + sides[1]].dropna()
            if complete.empty or not all(sides):
                continue
            # draws of its own, whatever else is compared
            rng = np.random.default_rng([seed, *f"{phase} {load:g} {arm} {against}".encode()])
            found = overhead(complete[sides[0]], complete[sides[1]], rng)
            rows.append(
                {"phase": phase, "load": load, "arm": arm, "against": against}
                | dict(zip(FIGURES, found, strict=False))
                | {"log_ratios": found.log_ratios_R.tolist(), "of_rounds": [*complete.index]}
            )
    return pd.DataFrame(rows, columns=[*KEYS, *FIGURES, "log_ratios", "of_rounds"])
