"""An arm against the control: differences of scores in points, forgetting, and ratios of drift."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loradrift.analysis.frontier.ratios import (
    EQUALS,
    LESS,
    MORE,
    NO_WIDTH,
    ONE_SEED,
    UNDECIDED,
    Judged,
)
from loradrift.analysis.frontier.ratios import judge as judge_ratio
from loradrift.analysis.reconstruction.verdicts import LINE
from loradrift.analysis.sequence.transfer import (
    MEASURES,
    Columns,
    Measure,
    over_rows,
    per_seed,
    row_variance,
)
from loradrift.analysis.tables import interval_row
from loradrift.statistics import Interval, sign_flip, t_interval
from loradrift.statistics.values import contrast

Row = dict[str, Any]

BySeed = Mapping[int, float]


def judge(interval: Interval, zone: float = 0.0) -> Judged:
    """What a difference is: less or more than 0, equal within the zone, or undecided.

    >>> [judge(Interval(0, *e, 2, 0.95), 2).verdict for e in ((1, 5), (-1, 1), (-1, 3))]
    ['more', 'equal', 'undecided']
    """
    if np.isnan(interval.low):
        return Judged(UNDECIDED, ONE_SEED)
    if interval.note:
        return Judged(UNDECIDED, NO_WIDTH)
    if interval.high < 0:
        return Judged(LESS)
    if interval.low > 0:
        return Judged(MORE)
    if -zone < interval.low and interval.high < zone:
        return Judged(EQUALS)
    return Judged(UNDECIDED, "the interval holds 0")


def by_seed_text(values: BySeed) -> str:
    """``1: -2.5, 2: -3``, in the order of seeds."""
    return ", ".join(f"{seed}: {values[seed]:.4g}" for seed in sorted(values))


def summary_row(columns: Columns, measure: Measure, tasks: Sequence[str]) -> Row:
    """An arm's mean over seeds, its interval over seeds, and that over evaluated rows."""
    values = per_seed(columns, measure, tasks)
    row = interval_row("value", [*values.values()])
    rows = over_rows(row["value"], row_variance(columns, measure, tasks))
    return row | {
        "rows_low": rows[0], "rows_high": rows[1], "tasks": ", ".join(tasks),
        "num_seeds": len(values), "by_seed": by_seed_text(values),
    }  # fmt: skip


def paired(one: BySeed, other: BySeed) -> tuple[list[int], np.ndarray[Any, np.dtype[np.float64]]]:
    """The seeds that both have, and the differences of their values."""
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return seeds, np.zeros(0)
    sides = [np.array([side[seed] for seed in seeds]) for side in (one, other)]
    return seeds, contrast(*sides)


def _tested(one: BySeed, other: BySeed, rng: np.random.Generator, zone: float) -> Row:
    """The columns that all comparisons have."""
    seeds, differences = paired(one, other)
    test = sign_flip(differences, rng=rng) if seeds else None
    judged = judge(t_interval(differences), zone) if seeds else Judged(UNDECIDED, "no common seed")
    return interval_row("difference", [*differences]) | {
        "seeds": ", ".join(map(str, seeds)), "num_seeds": len(seeds),
        "by_seed": by_seed_text(dict(zip(seeds, differences, strict=True))),
        "p": test.p if test else np.nan, "least_p": test.least_p if test else np.nan,
        "num_differ": test.num_blocks if test else 0,
        "verdict": judged.verdict, "why": judged.why,
    }  # fmt: skip


def compare_scores(
    name: str, columns: Columns, control: Columns, tasks: Sequence[str], rng: np.random.Generator
) -> Row:
    """One of :data:`MEASURES` of an arm, less the control's, in points; over tasks and by seed.

    ``rng`` draws flips beyond 40 seeds.
    """
    measure = MEASURES[name]
    one, other = (per_seed(each, measure, tasks) for each in (columns, control))
    row: Row = {"measure": name, "tasks": ", ".join(tasks)} | _tested(one, other, rng, LINE)
    seeds, _ = paired(one, other)
    rows = None
    if seeds:
        shared = [{seed: side[seed] for seed in seeds} for side in (columns, control)]
        rows = row_variance(shared[0], measure, tasks, shared[1])
    low, high = over_rows(row["difference"], rows)
    return row | {"rows_low": low, "rows_high": high}


def compare_costs(name: str, one: BySeed, other: BySeed, rng: np.random.Generator) -> Row:
    """A cost of an arm against the control's: the difference, and the ratio if all are positive.

    Where there is a ratio, the verdict is read from it: equal between 0.8 and 1.25.
    """
    row: Row = {"measure": name, "tasks": ""} | _tested(one, other, rng, 0.0)
    shared = one.keys() & other.keys()
    if not shared or min(side[seed] for side in (one, other) for seed in shared) <= 0:
        return row
    logs = [{seed: float(np.log(side[seed])) for seed in shared} for side in (one, other)]
    _, differences = paired(logs[0], logs[1])
    interval, test = t_interval(differences), sign_flip(differences, rng=rng)
    judged = judge_ratio(interval)
    ratio, low, high = map(float, np.exp(interval[:3]))
    return row | {
        "ratio": ratio, "ratio_low": low, "ratio_high": high, "p": test.p,
        "least_p": test.least_p, "num_differ": test.num_blocks,
        "verdict": judged.verdict, "why": judged.why,
    }  # fmt: skip
