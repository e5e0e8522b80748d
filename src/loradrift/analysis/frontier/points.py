"""One row for each run: what it reached, and what that cost."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.budget import best_step, marked
from loradrift.analysis.drift.control_checks import check_controls
from loradrift.analysis.drift.layers import run_drift
from loradrift.analysis.drift.pairing import Pair
from loradrift.analysis.drift.usable_pairs import DriftCache
from loradrift.analysis.frontier.grids import times_default
from loradrift.analysis.frontier.reading import FrontierRun, is_frozen
from loradrift.config import UserError

COLUMNS = {
    "task": str, "task_label": str, "arm": str, "rate": float, "times": float, "seed": int,
    "metric": str,
    "score": float, "validation": float, "drift": float, "forgetting": float, "norm": float,
    "step": float, "steps": int, "diverged": bool, "error": str,
}  # fmt: skip
"""Scores are of the best checkpoint, as are drift, forgetting and norm, whose step is ``step``.
Higher is better: a loss is negated. ``times`` is the rate as a multiple of the arm's default. What
is not known is NaN."""


def point_table(
    runs: Sequence[FrontierRun], results: Path, seed: int, problems: list[str]
) -> tuple[pd.DataFrame, list[FrontierRun]]:
    """A row for each run with :data:`COLUMNS`, and these runs; a line for each that has none.

    A run whose activations have no variance has a score and no drift, and a line that says so.
    """
    cache, rows = DriftCache(results), dict[FrontierRun, dict[str, Any]]()
    for run in runs:
        try:
            rows[run] = _diverged(run) if run.diverged else _point(run, cache, problems)
        except UserError as error:
            problems.append(_problem(run, error))
    moved = [run for run, row in rows.items() if np.isfinite(row.get("drift", np.nan))]
    for run in [run for run in moved if not is_frozen(run.arm)]:
        others = [each.run for each in moved if each.task == run.task and each is not run]
        try:
            _check(run, rows[run]["drift"], others, cache, seed)
        except UserError as error:
            problems.append(_problem(run, error))
            del rows[run]
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    types = {name: kind for name, kind in COLUMNS.items() if kind is not str}
    return table.astype(types), list(rows)


def _problem(run: FrontierRun, error: UserError) -> str:
    remedy = "; move the run away and repeat its own command"
    return f"{run.place}: {error}{remedy if isinstance(error, StoreError) else ''}"


def _place(run: FrontierRun) -> dict[str, Any]:
    return {
        "task": run.task, "task_label": run.record.task_label, "arm": run.arm, "rate": run.rate,
        "times": times_default(run), "seed": run.seed,
        "metric": run.record.config["task"]["metric"],
        "steps": run.record.steps, "diverged": run.diverged, "error": run.record.error or "",
    }  # fmt: skip


def _diverged(run: FrontierRun) -> dict[str, Any]:
    return _place(run) | {"step": float(run.record.steps)}


def _point(run: FrontierRun, cache: DriftCache, problems: list[str]) -> dict[str, Any]:
    metrics, sign = run.record.metrics, 1 if run.record.higher_is_better else -1
    metric = run.record.config["task"]["metric"]
    score, validation = (metrics.get(f"{s}/{metric}") for s in ("evaluation", "validation"))
    if score is None or validation is None:
        raise UserError(f"{run.run.folder}: run.json has no {metric}, so it was not evaluated")
    own = at_best(run.run)
    losses = [metrics.get(f"forgetting/loss_{when}") for when in ("before", "after")]
    before, after = (float("nan") if loss is None else loss for loss in losses)
    drift = mean_drift(own, cache)
    if np.isnan(drift):
        problems.append(
            f"{run.place}: a layer has no variance over the probe's rows, so its drift is "
            "undefined; see whether training collapsed"
        )
    return _place(run) | {
        "score": sign * score, "validation": sign * validation, "drift": drift,
        "forgetting": after - before, "step": float(best_step(own)),
    }  # fmt: skip


def at_best(run: Run) -> Run:
    """The run as it was at the step of its evaluated checkpoint.

    Raises:
        UserError: If no dump lies between the start and that step.
    """
    step, steps = best_step(run), run.store.steps
    if step >= steps[-1]:
        return run
    if step not in steps and not any(0 < each < step for each in steps):
        raise UserError(
            f"{run.folder} was evaluated at its step {step}, and its dumps are of steps "
            f"{', '.join(map(str, steps))}: none lies between training's start and there; train "
            f"it with callbacks.activation_dump.every_n_steps={step}"
        )
    return replace(run, end=step)


def mean_drift(run: Run, cache: DriftCache) -> float:
    """The run's mean drift over layers where it is compared; NaN if a layer has no variance.

    Raises:
        StoreError: If a dump is damaged.
    """
    run.store.check_sizes()
    drift = cache.table(run_drift, run, measures=())
    cka = marked(run, drift[drift["measure"] == "cka"])
    return float(cka.loc[cka["compared"], "drift"].mean(skipna=False))


def _check(
    run: FrontierRun, drift: float, partners: Sequence[Run], cache: DriftCache, seed: int
) -> None:
    """Judge the instrument: step 0 of the run against that of other runs of its task.

    Of two runs that disagree the damaged one disagrees with a third too: a run is refused if it
    disagrees with two others, or with the only other one.
    """
    if not drift > 0:
        raise UserError(f"{run.run.folder}: it did not move (its drift is {drift:.2g})")
    own = at_best(run.run)
    for number, partner in enumerate(partners[:2], start=1):
        pair = Pair(partner, own)
        try:
            check_controls(pair, cache.controls(pair, seed), {run.arm: drift})
        except UserError:
            if number == len(partners[:2]):
                raise
        else:
            return
