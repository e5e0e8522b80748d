"""What each run reached, and every task after every step: scores and drift, over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.jackknife import jackknife_variance
from loradrift.analysis.sequence.reading import Chain, Order, StepRun
from loradrift.analysis.sequence.scores import PERCENT, Column, score_after
from loradrift.analysis.sequence.transfer import over_rows
from loradrift.analysis.tables import interval_row

STEP_COLUMNS = {
    "arm": str, "seed": int, "step": int, "task": str, "task_label": str, "metric": str,
    "score": float, "loss_before": float, "loss_after": float, "steps": int, "diverged": bool,
    "error": str,
}  # fmt: skip
"""Of a run; the score on its own task is in percent, losses are nats per token on neutral text."""

Scores = Mapping[str, Mapping[int, Mapping[str, Column]]]
"""Arm -> seed -> task -> scores."""


def step_table(chains: Sequence[Chain], diverged: Sequence[StepRun]) -> pd.DataFrame:
    """A row with :data:`STEP_COLUMNS` for each run of the chains, and each that diverged."""
    runs = [step for chain in chains for step in chain.runs] + list(diverged)
    table = pd.DataFrame([_step(run) for run in runs], columns=list(STEP_COLUMNS))
    return table.astype({name: kind for name, kind in STEP_COLUMNS.items() if kind is not str})


def _step(step: StepRun) -> dict[str, Any]:
    losses = {
        f"loss_{when}": step.record.metrics.get(f"forgetting/loss_{when}")
        for when in ("before", "after")
    }
    score = np.nan if step.diverged else PERCENT * score_after(step, step)
    return losses | {
        "arm": step.arm, "seed": step.seed, "step": len(step.order), "task": step.task,
        "task_label": step.record.task_label, "metric": step.metric, "score": score,
        "steps": step.record.steps, "diverged": step.diverged, "error": step.record.error or "",
    }  # fmt: skip


def cell_drifts(layers: pd.DataFrame) -> pd.DataFrame:
    """``drift`` and ``floor`` of each ``arm``, ``seed``, ``step`` and ``task``, over layers."""
    keys = ["arm", "seed", "step", "task"]
    return layers.groupby(keys, sort=False)[["drift", "floor"]].mean().reset_index()


def seed_table(order: Order, scores: Scores, layers: pd.DataFrame) -> pd.DataFrame:
    """The matrix of each chain: ``score`` in percent, ``drift`` and its ``floor`` over layers."""
    rows = [
        {"arm": arm, "seed": seed, "step": k + 1, "task": task,
         "score": float(columns[task].scores_K[k - j])}
        for arm, by_seed in scores.items()
        for seed, columns in by_seed.items()
        for k in range(len(order))
        for j, task in enumerate(order[: k + 1])
    ]  # fmt: skip
    return pd.DataFrame(rows).merge(cell_drifts(layers), "left", ["arm", "seed", "step", "task"])


def matrix_table(order: Order, scores: Scores, layers: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm, step k and task j up to it: ``score`` in percent and ``drift``.

    ``_low`` and ``_high`` are the ends of the 95 % t interval over seeds, ``rows_low`` and
    ``rows_high`` of the score's over evaluated rows; drift is a geometric mean.
    """
    drifts, rows = cell_drifts(layers), []
    for arm, by_seed in scores.items():
        for k, after in enumerate(order):
            for j, task in enumerate(order[: k + 1]):
                place = {"arm": arm, "step": k + 1, "after": after, "task": task}
                own = [columns[task] for columns in by_seed.values()]
                row = place | {"seeds": len(own)} | _score(own, k - j)
                chosen = (drifts[["arm", "step", "task"]] == [arm, k + 1, task]).all(axis=1)
                rows.append(row | drift_row(drifts[chosen]))
    return pd.DataFrame(rows)


def _score(columns: Sequence[Column], place: int) -> dict[str, float]:
    row = interval_row("score", [float(each.scores_K[place]) for each in columns])
    known = [each.without_KN[place] for each in columns if each.without_KN is not None]
    whole = len(known) == len(columns) and len({len(each) for each in known}) == 1
    rows = jackknife_variance(np.mean(known, axis=0)) if whole else None
    low, high = over_rows(row["score"], rows)
    return row | {"rows_low": low, "rows_high": high}


def drift_row(cells: pd.DataFrame) -> dict[str, float]:
    """Geometric mean of ``drift`` over rows with its interval, and the mean ``floor``.

    Where a drift is not positive, as of a frozen backbone, it is the mean, without an interval.
    """
    drift = cells["drift"].to_numpy()
    if len(drift) and drift.min() > 0:
        found = {k: float(np.exp(v)) for k, v in interval_row("drift", [*np.log(drift)]).items()}
    else:
        mean = float(drift.mean()) if len(drift) else np.nan
        found = {"drift": mean, "drift_low": np.nan, "drift_high": np.nan}
    return found | {"floor": float(cells["floor"].mean()) if len(cells) else np.nan}
