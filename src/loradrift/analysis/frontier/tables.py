"""``analysis=frontier``: runs -> tables."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.learned import judge_run, judge_runs
from loradrift.analysis.drift.records import choose_study
from loradrift.analysis.frontier import AnalyzeFrontierConfig
from loradrift.analysis.frontier.checks import check_baseline, check_rates
from loradrift.analysis.frontier.comparisons import comparison_tables
from loradrift.analysis.frontier.grids import grid_problems
from loradrift.analysis.frontier.norms import update_norms
from loradrift.analysis.frontier.points import point_table
from loradrift.analysis.frontier.reading import (
    FrontierRun,
    comparable,
    is_frozen,
    read_runs,
)
from loradrift.analysis.plain_json import rows as rows_of
from loradrift.analysis.self_check.tables import run_self_checks
from loradrift.config import UserError
from loradrift.runs import RunRecord
from loradrift.similarity import SelfCheck


class Frontier(NamedTuple):
    """Everything that the report shows."""

    settings: AnalyzeFrontierConfig
    study: str
    runs: Sequence[FrontierRun]
    tables: Mapping[str, pd.DataFrame]
    """``points`` (a row for each run), ``rates`` (for each arm and rate), ``learned`` (for each arm
    at the rate that validation chose), ``comparisons``, ``parts`` and ``along``."""

    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return self.settings.baseline

    @property
    def tasks(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(self.tables["points"]["task"]))

    @property
    def arms(self) -> list[str]:
        """The baseline first, the frozen backbone last."""
        return ordered(self.tables["points"]["arm"], self.baseline)

    def of(self, name: str, task: str) -> pd.DataFrame:
        """A task's rows of a table."""
        table = self.tables[name]
        return table[table["task"] == task]

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The rows of the table of comparisons."""
        return rows_of(self.tables["comparisons"])

    def is_learned(self, task: str) -> bool:
        """Whether an arm that moves beats the best constant answer, or nobody can tell."""
        own = self.of("learned", task)
        moving = own.loc[~own["arm"].map(is_frozen), "learned"]
        return moving.empty or not moving.eq(False).fillna(False).all()

    def example(self, task: str) -> RunRecord:
        """The record of a task's run, whose model, data and rows are those of all.

        The run did not diverge if any did not.
        """
        own = [run for run in self.runs if run.task == task]
        return min(own, key=lambda run: run.diverged).record


def tabulate(settings: AnalyzeFrontierConfig) -> Frontier:
    """Read the runs and compute everything.

    Raises:
        UserError: If there are no runs, or none of the baseline, or it has one learning rate, or
            every run diverged.
        SelfCheckError: If CKA fails its self-check.
    """
    config, problems = settings.analysis, list[str]()
    runs_folder, results = Path(config.runs), Path(config.results)
    self_checks = run_self_checks(["cka"], config.seed)
    command = "python train.py study=frontier -m"
    study = choose_study(runs_folder, config.study, command, usual="frontier")
    found = comparable(read_runs(runs_folder / study, problems), problems)
    if not found:
        first = f" ({problems[0]})" if problems else ""
        raise UserError(f"{runs_folder / study} holds no finished run that trains{first}")
    found = check_rates(found, settings.baseline, problems)
    points, runs = point_table(found, results, config.seed, problems)
    check_baseline(runs, settings.baseline, problems)
    problems += grid_problems(points, settings.baseline)
    whole = [run for run in runs if not run.diverged]
    norms = update_norms(whole, runs_folder, results / ".remembered", problems)
    points["norm"] = [norms.get(run, np.nan) for run in runs]
    learned = learned_table(runs, points)
    problems += [
        f"{row['task']}: {row['arm']} is not judged against the best constant answer: "
        f"{row['why_not_judged']}"
        for row in learned[learned["why_not_judged"] != ""].to_dict("records")
    ]
    rng = np.random.default_rng(config.seed)
    order = ordered(points["arm"], settings.baseline)
    tables = {
        "points": points,
        "rates": rate_table(points),
        "learned": learned,
        **comparison_tables(points, learned, order, rng),
    }
    return Frontier(settings, study, runs, tables, self_checks, problems)


def ordered(arms: Sequence[str] | pd.Series, baseline: str) -> list[str]:
    """Arms without repetition: the baseline first, then by name and rank, the frozen one last.

    >>> ordered(["head_only", "lora_r64", "full_finetune", "lora_r8"], "full_finetune")
    ['full_finetune', 'lora_r8', 'lora_r64', 'head_only']
    """

    def place(arm: str) -> tuple[bool, bool, str, int]:
        method, _, rank = arm.rpartition("_r")
        known = bool(method) and rank.isdigit()
        return arm != baseline, is_frozen(arm), method if known else arm, int(rank) if known else 0

    return sorted(dict.fromkeys(arms), key=place)


RATE_COLUMNS = {
    "seeds": ("seed", "nunique"), "diverged": ("diverged", "sum"), "score": ("score", "mean"),
    "score_low": ("score", "min"), "score_high": ("score", "max"),
    "drift": ("log_drift", "mean"), "drift_low": ("log_drift", "min"),
    "drift_high": ("log_drift", "max"), "forgetting": ("forgetting", "mean"),
    "forgetting_low": ("forgetting", "min"), "forgetting_high": ("forgetting", "max"),
    "norm": ("norm", "mean"), "validation": ("validation", "mean"),
}  # fmt: skip
"""Column -> the points' column, and what of it over seeds; drift is a geometric mean."""


def rate_table(points: pd.DataFrame) -> pd.DataFrame:
    """A row for each task, arm and rate, over seeds; figures are of the runs that did not diverge.

    ``_low`` and ``_high`` are of the least and of the largest seed.
    """
    positive = points["drift"].where(points["drift"] > 0)
    logs = points.assign(log_drift=np.log(positive))
    keys = ["task", "task_label", "arm", "rate"]
    groups = logs.groupby(keys, sort=False)
    table = groups.agg(**{name: pd.NamedAgg(*how) for name, how in RATE_COLUMNS.items()})
    drift = ["drift", "drift_low", "drift_high"]
    table[drift] = np.exp(table[drift])
    return table.reset_index().sort_values(["task", "arm", "rate"], ignore_index=True)


LEARNED = ("score", "ci_lower", "ci_upper", "baseline")
"""Figures of :func:`learned_table`."""


def learned_table(runs: Sequence[FrontierRun], points: pd.DataFrame) -> pd.DataFrame:
    """Each task and arm at the rate with the best mean validation score, which no reported row saw.

    ``score`` with its interval over rows and seeds, ``baseline`` (that of the best constant
    answer, the same for all arms), ``learned``; empty where that cannot be judged, and
    ``why_not_judged`` says why.
    """
    rows, judge = [], cache(judge_run)
    whole = points[~points["diverged"]]
    for (task, arm), own in whole.groupby(["task", "arm"], sort=False):
        rates = own.groupby("rate")["validation"]
        means = rates.mean()[rates.count() == rates.count().max()]  # no seed of it diverged
        rate = float(str(means.idxmax()))
        chosen = [
            run.run
            for run in runs
            if (run.task, run.arm, run.rate, run.diverged) == (task, arm, rate, False)
        ]
        row: dict[str, Any] = {"task": task, "arm": arm, "rate": rate, "seeds": len(chosen)}
        row["score"] = own.loc[own["rate"] == rate, "score"].mean()
        try:
            row |= judge_runs(chosen, judge)
        except UserError as error:
            row["why_not_judged"] = str(error)
            row["baseline"] = _constant(run.run for run in runs if run.task == task)
        rows.append(row)
    columns = ["task", "arm", "rate", "seeds", *LEARNED, "learned", "why_not_judged"]
    table = pd.DataFrame(rows, columns=columns)
    table["why_not_judged"] = table["why_not_judged"].fillna("")
    return table.astype(dict.fromkeys(LEARNED, float) | {"learned": "boolean"})


def _constant(runs: Iterable[Run]) -> float:
    """The score of a task's best constant answer, by the first of its runs that tells it."""
    for run in runs:
        with suppress(UserError):
            return judge_run(run).baseline
    return np.nan
