"""What the tables say to each hypothesis."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.budget import untold
from loradrift.analysis.drift.hypotheses import (
    Evidence,
    Hypothesis,
    Outcome,
    hypotheses_about,
)
from loradrift.analysis.drift.learned import not_learned
from loradrift.analysis.drift.rounding import rounding_variance
from loradrift.analysis.drift.tables import DriftTables
from loradrift.analysis.drift.verdicts import decide
from loradrift.analysis.labels import spelt, task_labels
from loradrift.config import UserError
from loradrift.report.blocks import cell_text, interval_text, p_text
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Variance
from loradrift.statistics.values import Array


def decide_tables(tables: DriftTables, seed: int = 0) -> list[Outcome]:
    """Verdicts on all hypotheses; those whose tables do not exist yet have no data.

    Tasks that were not learned take no part.
    """
    arms, unlearned = tables.arms, not_learned(tables.learned)

    def taking_part(table: pd.DataFrame) -> pd.DataFrame:
        return table[~table["task"].isin(unlearned)]

    # Each task has a metric of its own; a run without its score has no block.
    runs, reduction = taking_part(tables.runs), taking_part(tables.reduction)
    evidence = {}
    if len(reduction):
        drift = reduction.melt(["task", "seed"], list(arms.names), "method", "drift")
        variances = taking_part(tables.summary).set_index("task")[["row_variance", "row_df"]]
        rows = {str(task): Variance(*row) for task, row in variances.iterrows()}
        measured = {task: rounding_variance(tables.rounding, [task]) for task in rows}
        rounding = {task: each.value for task, each in measured.items() if each is not None}
        missing = _missing(arms, runs)
        longer = untold(arms, taking_part(tables.budget), "scores")
        evidence = {
            "H1 performance": _evidence(arms, _more_is_better(runs), "score")._replace(
                rows=_score_rows(taking_part(tables.learned)),
                missing="; ".join(filter(None, [missing, longer])),
            ),
            "H2 drift": _evidence(arms, drift, "drift")._replace(
                missing=missing, rows=rows, rounding=rounding or None
            ),
        }
    outcomes = decide(evidence, hypotheses_about(arms), seed)
    labels = task_labels(tables.runs)
    names = [labels[task] for task in unlearned]
    return [_without_unlearned(outcome, names) for outcome in outcomes]


def _without_unlearned(outcome: Outcome, unlearned: Sequence[str]) -> Outcome:
    """The outcome of H1 or H2, whose note names the tasks that take no part in it."""
    if not unlearned or outcome.hypothesis.table not in ("performance", "drift"):
        return outcome
    said = f"not learned, so without a part in it: {', '.join(unlearned)}"
    kept = outcome.note if outcome.num_tasks else "no task is left"
    return replace(outcome, note="; ".join(filter(None, [said, kept])))


def _missing(arms: Arms, runs: pd.DataFrame) -> str:
    """Which pairs a task lacks that another task has, and what adds them; empty if none."""
    seeds = sorted(runs["seed"].unique())
    phrases = []
    for task, own in runs.groupby("task", sort=False):
        if lacking := [str(seed) for seed in seeds if seed not in set(own["seed"])]:
            numbers, overrides = ",".join(lacking), own["overrides"].iloc[0]
            how = " and ".join(
                f"`python train.py -m task={task} {method} seed={numbers} {overrides}`"
                for method in arms.typed
            )
            if "~" in overrides:  # what was typed is shortened in the name of the cell
                how = f"the command of its other seeds with seed={numbers}"
            phrases.append(f"no pair of {task} seed={numbers}: {how} adds it")
    return "; ".join(phrases)


def _more_is_better(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the reciprocal of scores of which less is better, such as a loss."""
    return runs.assign(score=runs["score"].where(runs["higher_is_better"], 1 / runs["score"]))


def _score_rows(learned: pd.DataFrame) -> dict[str, Variance] | None:
    """What other evaluation rows would add to each task's log ratio of scores, if all say so."""
    own = learned.drop_duplicates("task").set_index("task")[["row_variance", "row_df"]]
    if own.empty or own.isna().to_numpy().any():
        return None
    return {str(task): Variance(*row) for task, row in own.iterrows()}


def _evidence(arms: Arms, table: pd.DataFrame, value: str) -> Evidence:
    """Values of both arms by task, in the order of the seeds; NaN where a run is missing."""
    seeds = sorted(table["seed"].unique())

    def side(method: str) -> dict[str, Array]:
        own = table[table["method"] == method]
        wide = own.pivot(index="task", columns="seed", values=value).reindex(columns=seeds)
        return {str(task): row.to_numpy(dtype=np.float64) for task, row in wide.iterrows()}

    control, treatment = map(side, arms.names)
    return Evidence(treatment, control)


def outcomes_json(arms: Arms, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What ``results/hypotheses.json`` holds."""
    names = {arm.role: arm.name for arm in arms}
    return names | {"hypotheses": [asdict(outcome) for outcome in outcomes]}


def read_outcomes(path: Path, command: str) -> list[Outcome]:
    """What :func:`outcomes_json` gave, from its file, which ``command`` makes.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))["hypotheses"]
        for fields in saved:
            fields["hypothesis"] = Hypothesis(**fields["hypothesis"])
            fields["verdict"] = Verdict(fields["verdict"])
        return [Outcome(**fields) for fields in saved]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: `{command}` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): `{command}` makes it again") from None


def for_readers(outcomes: Sequence[Outcome], labels: Mapping[str, str]) -> list[Outcome]:
    """The outcomes with labels for tasks."""
    return [
        replace(
            outcome,
            task_ratios={labels.get(task, task): x for task, x in outcome.task_ratios.items()},
            note=spelt(outcome.note, labels),
        )
        for outcome in outcomes
    ]


def outcome_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row per hypothesis, for the terminal and the report: ratios, and the verdict's p.

    No mean is shown of tasks that disagree, but each task's ratio.
    """
    rows = []
    for outcome in outcomes:
        hidden, each = outcome.tasks_disagree, ratios_text(outcome)
        row = {
            "hypothesis": outcome.hypothesis.name,
            "claim": outcome.hypothesis.claim,
            "ratio": each if hidden else cell_text(outcome.ratio),
            "95 % interval": interval_text(outcome.ratio_lower, outcome.ratio_upper),
            "99 % interval": interval_text(outcome.verdict_lower, outcome.verdict_upper),
            "p": p_text(outcome.p_of_verdict),
            "verdict": str(outcome.verdict),
            "note": outcome.note,
        }
        rows.append(row | dict.fromkeys(["95 % interval", "99 % interval"] if hidden else [], "-"))
    return pd.DataFrame(rows)


def ratios_text(outcome: Outcome) -> str:
    """Each task's ratio."""
    return ", ".join(f"{task} {ratio:.3g}" for task, ratio in outcome.task_ratios.items())
