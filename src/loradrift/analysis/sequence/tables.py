"""``analysis=sequence``: runs -> tables."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.learned import judge_run, judge_runs
from loradrift.analysis.drift.records import choose_study
from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.tables import LEARNED, ordered
from loradrift.analysis.plain_json import rows as rows_of
from loradrift.analysis.self_check.tables import run_self_checks
from loradrift.analysis.sequence import AnalyzeSequenceConfig
from loradrift.analysis.sequence.along import Costs, along_table, drift_costs, neutral_costs
from loradrift.analysis.sequence.baseline import chosen_baseline
from loradrift.analysis.sequence.chains import COMMAND, find_chains
from loradrift.analysis.sequence.comparison import compare_costs, compare_scores, summary_row
from loradrift.analysis.sequence.drift import COLUMNS, ChainDrift
from loradrift.analysis.sequence.matrices import Scores, matrix_table, seed_table, step_table
from loradrift.analysis.sequence.reading import Chain, Order, StepRun, read_steps
from loradrift.analysis.sequence.scores import Column, columns_of
from loradrift.analysis.sequence.transfer import MEASURES
from loradrift.config import UserError
from loradrift.similarity import SelfCheck

NOT_LEARNED = "not learned"

COMPARED = (
    "arm", "baseline", "label", "measure", "tasks", "seeds", "num_seeds", "difference",
    "difference_low", "difference_high", "rows_low", "rows_high", "ratio", "ratio_low",
    "ratio_high", "p", "least_p", "num_differ", "verdict", "why", "by_seed",
)  # fmt: skip


class ChainReport(NamedTuple):
    """Everything that the report shows."""

    settings: AnalyzeSequenceConfig
    study: str
    order: Order
    chains: Sequence[Chain]
    diverged: Sequence[StepRun]
    tables: Mapping[str, pd.DataFrame]
    """``steps`` (a row for each run), ``seeds`` (for each chain, step and task up to it),
    ``matrix`` (the same over seeds), ``layers`` (drift by layer), ``learned``, ``summary`` (each
    arm's means over tasks), ``along`` (forgetting and drift after each step), ``comparisons``."""

    self_checks: Sequence[SelfCheck]
    problems: Sequence[str]

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return chosen_baseline(self.settings.baseline, [chain.arm for chain in self.chains])

    @property
    def arms(self) -> list[str]:
        """The baseline first, the frozen backbone last."""
        return ordered([chain.arm for chain in self.chains], self.baseline)

    def task_label(self, task: str) -> str:
        """How a task is written."""
        steps = self.tables["steps"]
        return str(steps.loc[steps["task"] == task, "task_label"].iloc[0])

    def metric_of(self, task: str) -> str:
        """The task's metric."""
        steps = self.tables["steps"]
        return str(steps.loc[steps["task"] == task, "metric"].iloc[0])

    @property
    def compared(self) -> list[dict[str, Any]]:
        """The rows of the table of comparisons."""
        return rows_of(self.tables["comparisons"])


def tabulate(settings: AnalyzeSequenceConfig) -> ChainReport:
    """Read the runs and compute everything.

    Raises:
        UserError: If there is no chain, or none of the baseline.
        SelfCheckError: If CKA fails its self-check.
    """
    config, problems = settings.analysis, list[str]()
    runs_folder, results = Path(config.runs), Path(config.results)
    self_checks = run_self_checks(["cka"], config.seed)
    study = choose_study(runs_folder, config.study, COMMAND, usual="sequence")
    steps = read_steps(runs_folder / study, problems)
    order, chains, diverged = find_chains(steps, settings.order, runs_folder / study, problems)
    scores, chains = _scores(chains, problems)
    lost = [*problems, *(f"{step.place}: {step.record.error}" for step in diverged)]
    arms = ordered(list(scores), chosen_baseline(settings.baseline, list(scores), lost))
    scores = {arm: scores[arm] for arm in arms}
    layers = _layers(chains, results, config.seed, problems)
    costs = {"neutral": neutral_costs(chains, problems), "drift": drift_costs(layers)}
    learned = learned_table(chains, order)
    rng = np.random.default_rng(config.seed)
    problems += _unpaired(scores)
    tables = {
        "steps": step_table(chains, diverged),
        "seeds": seed_table(order, scores, layers),
        "matrix": matrix_table(order, scores, layers),
        "layers": layers,
        "learned": learned,
        "summary": _summary(order, scores),
        "along": along_table(order, arms, costs, layers, rng),
        "comparisons": _comparisons(order, scores, costs, learned, rng),
    }
    return ChainReport(settings, study, order, chains, diverged, tables, self_checks, problems)


def _scores(chains: Sequence[Chain], problems: list[str]) -> tuple[Scores, list[Chain]]:
    """The scores of the chains that have all of them, and these chains."""
    found: dict[str, dict[int, dict[str, Column]]] = {}
    kept = []
    for chain in sorted(chains, key=lambda chain: (chain.arm, chain.seed)):
        try:
            columns = columns_of(chain, problems)
        except UserError as error:
            problems.append(f"{chain.place}: {error}; move that run away and repeat its command")
            continue
        found.setdefault(chain.arm, {})[chain.seed] = columns
        kept.append(chain)
    return found, kept


def _layers(chains: list[Chain], results: Path, seed: int, problems: list[str]) -> pd.DataFrame:
    """The drift of every chain by layer; a line for each chain whose drift cannot be shown."""
    reader, tables = ChainDrift(chains, results, seed), [pd.DataFrame(columns=list(COLUMNS))]
    for chain in chains:
        try:
            tables.append(reader.table(chain))
        except UserError as error:
            problems.append(f"{chain.place}: its drift is left out: {error}")
    return pd.concat(tables[1:] or tables, ignore_index=True).astype(COLUMNS)


def learned_table(chains: Sequence[Chain], order: Order) -> pd.DataFrame:
    """Each task and arm after the task's own step: whether it beats the best constant answer.

    Columns as in the frontier's table, without a rate.
    """
    rows, judge = [], cache(judge_run)
    for number, task in enumerate(order):
        for arm in dict.fromkeys(chain.arm for chain in chains):
            runs = [chain.runs[number].run for chain in chains if chain.arm == arm]
            row: dict[str, Any] = {"task": task, "arm": arm, "seeds": len(runs)}
            try:
                row |= judge_runs(runs, judge)
            except UserError as error:
                row["why_not_judged"] = str(error)
            rows.append(row)
    columns = ["task", "arm", "seeds", *LEARNED, "learned", "why_not_judged"]
    table = pd.DataFrame(rows, columns=columns)
    table["why_not_judged"] = table["why_not_judged"].fillna("")
    return table.astype(dict.fromkeys(LEARNED, float) | {"learned": "boolean"})


def unlearned(learned: pd.DataFrame, *arms: str) -> set[str]:
    """The tasks that one of these arms did not learn; one that cannot be judged is not among."""
    fails = learned["learned"].eq(False).fillna(False)  # three values: NA is no False
    return set(learned.loc[fails & learned["arm"].isin(arms), "task"])


def _tasks(name: str, order: Order) -> list[str]:
    return list(order if MEASURES[name].has_last else order[:-1])


def _summary(order: Order, scores: Scores) -> pd.DataFrame:
    """Each arm's means over tasks, as the papers define them: over all tasks, learned or not."""
    rows = [
        {"arm": arm, "measure": name} | summary_row(columns, measure, tasks)
        for arm, columns in scores.items()
        for name, measure in MEASURES.items()
        if (tasks := _tasks(name, order))
    ]
    return pd.DataFrame(rows)


def _comparisons(
    order: Order,
    scores: Scores,
    costs: Mapping[str, Costs],
    learned: pd.DataFrame,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Each arm against the baseline, which is the first, by measure.

    In what became of earlier tasks only those take part that both arms learned.
    """
    (baseline, *others), rows = scores, list[dict[str, Any]]()
    for arm in others:
        place = {"arm": arm, "baseline": baseline, "label": arm_label(arm)}
        missing = unlearned(learned, arm, baseline)
        for name in MEASURES:
            whole = _tasks(name, order)
            tasks = [t for t in whole if name == "accuracy" or t not in missing]
            if tasks:
                row = compare_scores(name, scores[arm], scores[baseline], tasks, rng)
                rows.append(place | row)
            elif whole:
                why = "no earlier task was learned by both arms"
                rows.append(place | {"measure": name, "verdict": NOT_LEARNED, "why": why})
        for name, by_arm in costs.items():
            sides = [by_arm.get(each, {}).get(len(order), {}) for each in (arm, baseline)]
            if all(sides) and not (name == "drift" and any(map(is_frozen, (arm, baseline)))):
                rows.append(place | compare_costs(name, sides[0], sides[1], rng))
    table = pd.DataFrame(rows, columns=list(COMPARED))
    text = ["tasks", "seeds", "why", "by_seed"]
    return table.assign(**{name: table[name].fillna("") for name in text})


def _unpaired(scores: Scores) -> list[str]:
    """A line for each seed that the baseline, the first arm, or another arm has alone."""
    baseline, *others = scores
    return [
        f"seed={seed}: {one} has a whole chain and {other} has none, so it takes no part in their "
        "comparison"
        for arm in others
        for one, other in ((arm, baseline), (baseline, arm))
        for seed in sorted(scores[one].keys() - scores[other].keys())
    ]
