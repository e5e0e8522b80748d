"""Which rates an arm was tried at: what a seed lacks of its arm's grid, and an arm of the other's.

Between two rates a cost is read off a straight line, so a rate that is missing moves a ratio, up or
down by the shape of the curve there. So a seed with fewer rates than its arm's other seeds takes no
part in a ratio, and arms whose grids differ are said to. A rate belongs to an arm's grid if a run
of the arm at it did not diverge, with any seed: only such a rate is on a curve. A run that diverged
has tried its rate.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.frontier.reading import FROZEN, FrontierRun, arm_label, is_frozen
from loradrift.config.keys import flatten

DEFAULTS = {"full_finetune": "full_finetune_lr", FROZEN: "head_lr"}
"""Method -> the key of ``scale`` with its default rate; of all others it is ``adapter_lr``."""


def times_default(run: FrontierRun) -> float:
    """How many times its method's default rate a run's rate is, to three digits.

    NaN where its record does not have the default.
    """
    key = DEFAULTS.get(run.record.coordinates["method"], "adapter_lr")
    default = flatten(run.record.config).get(f"scale.{key}")
    return float(f"{run.rate / default:.3g}") if default else float("nan")


Lacking = Mapping[int, Sequence[float]]
"""Seed -> the rates of its arm's grid at which it has no run; without seeds that lack none."""


def lacking(points: pd.DataFrame) -> Lacking:
    """What each seed lacks, of an arm's ``points`` on one task."""
    grid = {*points.loc[~points["diverged"], "rate"]}
    gaps = {seed: sorted(grid - {*own["rate"]}) for seed, own in points.groupby("seed")}
    return {int(str(seed)): rates for seed, rates in gaps.items() if rates}


def left_out(shared: Collection[int], *arms: Lacking) -> set[int]:
    """The seeds of both arms that a ratio is made without: none if no seed has all rates."""
    gaps = {seed for each in arms for seed in each if seed in shared}
    return gaps if len(gaps) < len(shared) else set()


class Multiple(NamedTuple):
    """A rate, and how many times the arm's own default it is."""

    times: float
    rate: float

    def __str__(self) -> str:
        return f"{self.rate:.3g} ({self.times:g} times its default)"


def absent(points: pd.DataFrame, other: pd.DataFrame) -> list[Multiple]:
    """The multiples of the default that the ``other`` arm's grid has and this arm did not try.

    Empty where the records do not say what the defaults are.
    """
    defaults = (points["rate"] / points["times"]).dropna()
    if defaults.empty:
        return []
    there = {*other.loc[~other["diverged"], "times"].dropna()} - {*points["times"]}
    return [Multiple(times, times * float(defaults.iloc[0])) for times in sorted(there)]


def grid_problems(points: pd.DataFrame, baseline: str) -> list[str]:
    """A line for each seed that lacks rates, and for each arm whose grid is not the baseline's."""
    lines = []
    for task, rows in points.groupby("task", sort=False):
        by_arm = {str(arm): own for arm, own in rows.groupby("arm", sort=False)}
        for arm, own in by_arm.items():
            lines += [
                f"{task} seed={seed} {arm}: no run at rate {_listed(rates)}, where other seeds of "
                "it have one: out of ratios while a seed has them all; the study's command makes it"
                for seed, rates in lacking(own).items()
            ]
        for arm in [arm for arm in by_arm if arm != baseline and not is_frozen(arm)]:
            sides = (arm, baseline), (baseline, arm)
            lines += [
                f"{task} {one}: no run at rate {_listed(rates)}, where {other} has one: compared "
                "all the same, but a missing rate can move a ratio; study.factors=[…] makes it"
                for one, other in sides
                if baseline in by_arm and (rates := absent(by_arm[one], by_arm[other]))
            ]
    return lines


def grid_text(
    arm: str, baseline: str, by_arm: Mapping[str, pd.DataFrame], shared: Collection[int]
) -> str:
    """What of a task's grids a reader of a comparison must know; empty if both are whole and alike.

    Args:
        arm: What is compared with the ``baseline``.
        baseline: The other one.
        by_arm: Each arm's points on the task.
        shared: The seeds that both have.
    """
    arms = {each: lacking(by_arm[each]) for each in (arm, baseline)}
    out, said = left_out(shared, *arms.values()), list[str]()
    for each, gaps in arms.items():
        said += [
            f"{'without seed' if seed in out else 'with seed'} {seed}, with which "
            f"{arm_label(each)} has no run at rate {_listed(rates)}"
            for seed, rates in gaps.items()
            if seed in shared
        ]
    for one, other in ((arm, baseline), (baseline, arm)):
        if rates := absent(by_arm[one], by_arm[other]):
            said.append(
                f"{arm_label(one)} has no run at rate {_listed(rates)}, {arm_label(other)} has"
            )
    return "; ".join(said)


def _listed(rates: Sequence[float | Multiple]) -> str:
    return ", ".join(str(each) if isinstance(each, Multiple) else f"{each:g}" for each in rates)
