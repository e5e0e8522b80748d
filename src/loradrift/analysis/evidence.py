"""What the study's tables say to each hypothesis."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.hypotheses import Evidence, Hypothesis, Outcome, Verdict
from loradrift.analysis.statistics.values import Array
from loradrift.analysis.study import Study
from loradrift.analysis.verdicts import judge
from loradrift.config import UserError


def judge_study(study: Study) -> list[Outcome]:
    """Verdicts on all hypotheses; those whose tables do not exist yet have no data."""
    scores = study.runs.assign(score=_scores(study.runs))
    drift = study.reduction.melt(["task", "seed"], ["full_finetune", "lora"], "method", "drift")
    return judge(
        {"H1 performance": _evidence(scores, "score"), "H2 drift": _evidence(drift, "drift")}
    )


def _scores(runs: pd.DataFrame) -> list[float]:
    """The reported split's score of each run, in its task's own metric."""
    return [float(row[f"evaluation/{row['metric']}"]) for row in runs.to_dict("records")]


def _evidence(table: pd.DataFrame, value: str) -> Evidence:
    """Values of both methods by task, in the order of the seeds; NaN where a run is missing."""
    seeds = sorted(table["seed"].unique())

    def side(method: str) -> dict[str, Array]:
        own = table[table["method"] == method]
        wide = own.pivot(index="task", columns="seed", values=value).reindex(columns=seeds)
        return {str(task): row.to_numpy(dtype=np.float64) for task, row in wide.iterrows()}

    return Evidence(treatment=side("lora"), control=side("full_finetune"))


def outcomes_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What ``results/hypotheses.json`` holds."""
    return {"hypotheses": [asdict(outcome) for outcome in outcomes]}


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
                "least exact p": outcome.least_p,
                "verdict": str(outcome.verdict),
                "note": outcome.note,
            }
        )
    return pd.DataFrame(rows)
