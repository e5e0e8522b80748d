"""How well the runs did, and how far they had moved when they did equally well."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.commands import overrides
from loradrift.analysis.drift.pairing import Pair
from loradrift.analysis.drift.provenance import made_of
from loradrift.config import UserError


def validation_curve(run: Run) -> pd.DataFrame:
    """``step`` and the best ``score`` so far of the metric that chooses the checkpoint.

    Higher is better: a loss is negated.

    Raises:
        UserError: If the run's ``metrics.csv`` is missing, damaged or without that metric.
    """
    path, name = run.folder / "metrics.csv", f"validation/{run.record.config['task']['metric']}"
    remedy = "copy the file here again, or move the run away and repeat its own command"
    try:
        table = pd.read_csv(path)
        columns = [column for column in ("step", name) if column in table]
        table[columns] = table[columns].apply(pd.to_numeric)
    except (OSError, ValueError) as error:  # pandas' errors are ValueErrors
        reason = str(error).split("\n")[0]
        raise UserError(f"{path} cannot be read ({reason}); {remedy}") from None
    if not {"step", name} <= set(table) or table[name].isna().all():
        raise UserError(f"{path} has no column step and {name} with a value; {remedy}")
    table = table.loc[table[name].notna(), ["step", name]]
    if table["step"].isna().any():
        raise UserError(f"{path} has a {name} without its step; {remedy}")
    scores = table[name] if run.record.higher_is_better else -table[name]
    return pd.DataFrame({"step": table["step"], "score": scores.cummax()})


def step_of_score(curve: pd.DataFrame, score: float) -> float:
    """The step at which a score is first reached, interpolated between validations; NaN if never.

    A score that is there at the first validation is reached at its step.
    """
    reached = curve.loc[curve["score"] >= score - 1e-9]  # a mean of equal scores is rounded
    if reached.empty:
        return float("nan")
    after = reached.iloc[0]
    before = curve.loc[curve["step"] < after["step"]]
    if before.empty:
        return float(after["step"])
    last = before.iloc[-1]
    share = min(1.0, (score - last["score"]) / (after["score"] - last["score"]))
    return float(last["step"] + share * (after["step"] - last["step"]))


def equal_performance(pairs: Sequence[Pair], mean_drift: pd.DataFrame) -> pd.DataFrame:
    """Drift of both methods at the validation score that both methods' seeds reach on average.

    The pairs are of one task. Step and drift are NaN where a run never gets there. A run that is
    there at its first validation was so earlier, nobody knows when (``before_first_validation``):
    step and drift are then those of that validation.
    """
    curves = {run: validation_curve(run) for pair in pairs for run in pair}
    best = {run: curve["score"].max() for run, curve in curves.items()}
    level = min(np.mean([best[pair[which]] for pair in pairs]) for which in (0, 1))
    rows = []
    for run, curve in curves.items():
        step = step_of_score(curve, level)
        drift, censored = drift_at(run, step, mean_drift), step == curve["step"].iloc[0]
        rows.append((run.seed, run.method, level, step, drift, censored))
    columns = ["seed", "method", "score", "step", "drift", "before_first_validation"]
    return pd.DataFrame(rows, columns=columns)


def drift_at(run: Run, steps: Any, mean_drift: pd.DataFrame) -> Any:
    """The run's mean drift at one or more steps, interpolated between dumps; NaN for no step."""
    places = mean_drift[["task", "method", "seed"]]
    own = mean_drift[(places == [run.task, run.method, run.seed]).all(axis=1)]
    return np.interp(steps, own["step"], own["drift"])


def run_table(runs: Sequence[Run], trained_longer: Sequence[bool]) -> pd.DataFrame:
    """One row per run; ``overrides`` is what else a command needs that trains another like it.

    ``score`` is what H1 compares, the metric on the reported split: none where the evaluated
    checkpoint has been ``trained_longer`` than the run it is compared with.
    """
    rows = []
    for run, is_longer in zip(runs, trained_longer, strict=True):
        record, metric = run.record, run.record.config["task"]["metric"]
        score = None if is_longer else record.metrics.get(f"evaluation/{metric}")
        row = {
            "task": run.task, "task_label": record.task_label, "method": run.method,
            "seed": run.seed, "metric": metric, "steps": record.steps,
            "trainable": record.parameters.get("trainable"), "overrides": overrides(run),
            "commit": record.git.get("commit"), "device": record.device, "score": score,
            "higher_is_better": record.higher_is_better,
        }  # fmt: skip
        rows.append(row | made_of(run) | record.metrics | record.performance)
    return pd.DataFrame(rows).astype({"score": float})
