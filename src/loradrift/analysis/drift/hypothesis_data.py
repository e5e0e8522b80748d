"""What the tables say to each hypothesis."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypotheses import (
    Evidence,
    Hypothesis,
    Outcome,
    Verdict,
    hypotheses_about,
)
from loradrift.analysis.drift.tables import DriftTables
from loradrift.analysis.drift.verdicts import decide
from loradrift.config import UserError
from loradrift.statistics import Variance, variance_of_mean
from loradrift.statistics.values import Array


def decide_tables(tables: DriftTables, seed: int = 0) -> list[Outcome]:
    """Verdicts on all hypotheses; those whose tables do not exist yet have no data.

    Args:
        tables: All tables about drift.
        seed: Draws flips where there are too many blocks to count them.
    """
    arms = tables.arms
    scores = tables.runs.assign(score=_scores(tables.runs))
    drift = tables.reduction.melt(["task", "seed"], list(arms.names), "method", "drift")
    rows = variance_of_mean(
        [Variance(*row) for row in tables.summary[["row_variance", "row_df"]].to_numpy()]
    )
    missing = _missing(arms, tables.runs)
    evidence = {
        "H1 performance": _evidence(arms, scores, "score")._replace(missing=missing),
        "H2 drift": _evidence(arms, drift, "drift")._replace(missing=missing, rows=rows),
    }
    return decide(evidence, hypotheses_about(arms), seed)


def _missing(arms: Arms, runs: pd.DataFrame) -> str:
    """Which pairs a task lacks that another task has, and what adds them; empty if none."""
    seeds = sorted(runs["seed"].unique())
    phrases = []
    for task, own in runs.groupby("task", sort=False):
        if lacking := [str(seed) for seed in seeds if seed not in set(own["seed"])]:
            numbers, overrides = ",".join(lacking), own["overrides"].iloc[0]
            commands = [
                f"`python train.py -m task={task} {method} seed={numbers} {overrides}`"
                for method in arms.typed
            ]
            how = " and ".join(commands)
            if "~" in overrides:  # what was typed is shortened in the name of the cell
                how = f"the command of its other seeds with seed={numbers}"
            phrases.append(f"no pair of {task} seed={numbers}: {how} adds it")
    return "; ".join(phrases)


def _scores(runs: pd.DataFrame) -> list[float]:
    """The reported split's score of each run, in its task's own metric."""
    figures = [row.get(f"evaluation/{row['metric']}") for row in runs.to_dict("records")]
    return [float("nan") if figure is None else float(figure) for figure in figures]


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
    """What :func:`outcomes_json` gave, from its file.

    Args:
        path: ``results/hypotheses.json``.
        command: Makes it; the error names it.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))["hypotheses"]
        return [
            Outcome(
                **fields
                | {
                    "hypothesis": Hypothesis(**fields["hypothesis"]),
                    "verdict": Verdict(fields["verdict"]),
                }
            )
            for fields in saved
        ]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: `{command}` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): `{command}` makes it again") from None


def outcome_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row per hypothesis, for the terminal and the report."""
    rows = []
    for outcome in outcomes:
        claim = outcome.hypothesis
        rows.append(
            {
                "hypothesis": claim.name,
                "claim": claim.claim,
                "estimate %": outcome.estimate,
                "95 % from": outcome.ci_lower,
                "to": outcome.ci_upper,
                "p": outcome.p,
                "p Holm": outcome.p_holm,
                "p Bonferroni": outcome.p_bonferroni,
                "p BH": outcome.p_benjamini_hochberg,
                "least exact p": outcome.least_p,
                "verdict": str(outcome.verdict),
                "note": outcome.note,
            }
        )
    return pd.DataFrame(rows)
