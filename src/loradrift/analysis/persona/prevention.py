"""Preventative steering: runs trained with a direction in their weights, and runs without."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.steering_cells.behaviour import Behaviour
from loradrift.report.verdicts import Verdict
from loradrift.statistics.bounded import Bounded

OWN = ("direction", "direction_coefficient")
"""Keys below ``task`` that only a run with a direction has."""

COLUMNS = ["trait", "trained_on", "coefficient", "seed", "with_direction", "without", "difference",
           "low", "high", "questions"]  # fmt: skip


class Prevented(NamedTuple):
    """The same training with the direction merged, less without."""

    treated: Behaviour
    control: Behaviour
    difference: Bounded


def preventions(found: Sequence[Behaviour]) -> tuple[list[Prevented], list[str]]:
    """Pairs that differ in the direction alone, and a line for each run without a partner."""
    controls = {(_key(each), each.trait): each for each in found if not each.prevented}
    pairs, problems = [], []
    for each in found:
        if not each.prevented:
            continue
        control = controls.get((_key(each), each.trait))
        if control is None:
            problems.append(
                f"{each.run} has no partner trained without task.direction, judged for {each.trait}"
            )
        else:
            pairs.append(Prevented(each, control, each.score.minus(control.score)))
    return pairs, problems


def _key(each: Behaviour) -> str:
    task = {key: value for key, value in each.task.items() if key not in OWN}
    place = {key: each.record.coordinates.get(key) for key in ("method", "seed")}
    return str((sorted(task.items(), key=str), place, each.record.config.get("method")))


def prevention_table(pairs: Sequence[Prevented]) -> pd.DataFrame:
    """One row per pair and trait."""
    rows: list[dict[str, Any]] = []
    for each in pairs:
        interval = each.difference.interval(each.treated.num_questions)
        task = each.treated.task
        rows.append(
            {
                "trait": each.treated.trait,
                "trained_on": f"{task.get('trait')} {task.get('side')}",
                "coefficient": float(task.get("direction_coefficient") or 1.0),
                "seed": each.treated.record.coordinates.get("seed"),
                "with_direction": each.treated.score.value,
                "without": each.control.score.value,
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "questions": each.treated.num_questions,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def prevention_verdict(table: pd.DataFrame) -> Verdict:
    """Whether the trait that was trained on is lower with its direction than without.

    A negative coefficient takes the trait out of the weights first, and is expected to raise it.
    """
    own = table[[row["trained_on"].split()[0] == row["trait"] for _, row in table.iterrows()]]
    own = own[own["coefficient"] > 0]
    if own.empty:
        return Verdict.NO_DATA
    if (own["high"] < 0).all():
        return Verdict.SUPPORTED
    return Verdict.REFUTED if (own["low"] > 0).any() else Verdict.UNDECIDED
