"""How far rounding alone moves a drift: runs that are others' copies but for their last bits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.budget import marked
from loradrift.analysis.drift.layers import run_drift
from loradrift.analysis.drift.pairing import Pairing, contract, is_usable
from loradrift.analysis.drift.usable_pairs import DriftCache
from loradrift.config.keys import flatten, varies
from loradrift.runs import RunRecord
from loradrift.statistics import Variance

KEY = "trainer.rounding"

COLUMNS = (
    "task", "method", "seed", "roundings", "drift", "nudged_drifts", "sd_log_drift", "sd_score",
    "df",
)  # fmt: skip


def with_copies(pairing: Pairing, results: Path) -> Pairing:
    """Find, for each run that is compared, the nudged ones that differ in their rounding alone.

    What is meant as a copy and cannot be used becomes a problem. What is read of the copies is
    remembered below ``results``.
    """
    cache, problems = DriftCache(results), list(pairing.problems)
    runs = [run for pair in pairing.pairs for run in pair]
    copies: dict[Run, dict[int, Run]] = defaultdict(dict)  # the same draw counts once
    for folder, record in pairing.nudged.items():
        own = [run for run in runs if _place(run.record) == _place(record)]
        equal = [run for run in own if not _differing(run.record, record)]
        for run in equal or [run for run in own if _typed(run.record) == _typed(record)]:
            copy = replace(run, folder=folder, record=record)
            if is_usable(copy, problems):
                if problem := _problem(run, copy, cache):
                    problems.append(f"{folder}: {problem}")
                else:
                    copies[run][record.rounding] = copy
    found = {run: [own[number] for number in sorted(own)] for run, own in copies.items()}
    return pairing._replace(copies=found, problems=problems)


def _place(record: RunRecord) -> list[Any]:
    return [record.coordinates[key] for key in ("task", "method", "seed")]


def _differing(one: RunRecord, other: RunRecord) -> list[str]:
    """Keys with unequal values; one that an earlier version did not have yet does not count."""
    before, now = flatten(one.config), flatten(other.config)
    return sorted(key for key in {*before} & {*now} - {KEY} if before[key] != now[key])


def _typed(record: RunRecord) -> set[str]:
    return {each for each in record.overrides if varies(each) and not each.startswith(KEY)}


def _problem(run: Run, copy: Run, cache: DriftCache) -> str:
    """Why a run is no copy of the other, or cannot be measured; empty if it is and can."""
    one, other = contract(run), contract(copy)
    if unequal := [
        *_differing(run.record, copy.record),
        *(name for name in one if one[name] != other[name]),
    ]:
        return f"{', '.join(unequal)} differ from {run.folder}: no copy of it but for its rounding"
    try:
        copy.store.check_sizes()
        drift = _mean_drift(copy, cache)
    except StoreError as error:
        return f"{error}; move the run away and repeat its own command"
    return "" if drift > 0 else f"its drift is {drift:.2g}, which has no logarithm"


def _mean_drift(run: Run, cache: DriftCache, measures: Sequence[str] = ()) -> float:
    """The mean over layers where the run is compared, and so its copies."""
    drift = cache.table(run_drift, run, measures=measures)
    cka = marked(run, drift[drift["measure"] == "cka"])
    return float(cka.loc[cka["compared"], "drift"].mean())


def rounding_table(
    copies: Mapping[Run, Sequence[Run]], cache: DriftCache, measures: Sequence[str]
) -> pd.DataFrame:
    """One row for each run that has copies: its drift, theirs, and how both vary.

    ``measures`` are those for which the drift of the runs themselves is remembered.
    """
    rows = []
    for run, own in copies.items():
        first = _mean_drift(run, cache, measures)
        nudged = [_mean_drift(copy, cache) for copy in own]
        scores = np.array([_score(each.record) for each in (run, *own)], dtype=float)
        sd = np.log([first, *nudged]).std(ddof=1)
        place = (run.task, run.method, run.seed, len(own))
        rows.append((*place, first, nudged, sd, scores.std(ddof=1), len(own)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _score(record: RunRecord) -> float | None:
    return record.metrics.get(f"evaluation/{record.config['task']['metric']}")


def rounding_variance(table: pd.DataFrame, tasks: Sequence[str]) -> Variance | None:
    """The variance that rounding makes of one seed's log ratio of drifts, averaged over tasks.

    Both arms of each task have a variance of their own: their sum over the tasks, divided by the
    square of the number of tasks. The degrees of freedom are the least of all. An arm that was not
    made again adds nothing: the sum is then a lower bound. None if no arm of a task was.
    """
    parts = []
    for task in tasks:
        arms = table[table["task"] == task].groupby("method")
        if not len(arms):
            return None
        parts += [_pooled(own) for _, own in arms]
    return Variance(sum(p.value for p in parts) / len(tasks) ** 2, min(p.df for p in parts))


def _pooled(rows: pd.DataFrame) -> Variance:
    """The variance of one arm's log drift around each seed's own mean."""
    df = int(rows["df"].sum())
    return Variance(float((rows["df"] * rows["sd_log_drift"] ** 2).sum() / df), df)


def rounding_json(table: pd.DataFrame, task: str) -> dict[str, Any] | None:
    """What the results hold of a task; None where nothing was made again."""
    own = table[table["task"] == task]
    if own.empty:
        return None
    both = rounding_variance(table, [task])
    runs: dict[str, list[dict[Any, Any]]] = defaultdict(list)
    for row in own.drop(columns="task").to_dict("records"):
        nudged = [float(drift) for drift in row["nudged_drifts"]]
        runs[row.pop("method")].append(row | {"nudged_drifts": nudged})
    return {
        "sd_log_ratio": None if both is None else both.value**0.5,
        "df": None if both is None else both.df,
        "runs": dict(runs),
    }
