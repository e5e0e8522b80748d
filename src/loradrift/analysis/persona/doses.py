"""Every dose of every arm: trait, coherence, and what steering costs on other text and tasks."""

# Shape suffixes: N rows, R resamples.

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.steering_cells.judged import STATUSES, Judged
from loradrift.analysis.steering_cells.resampled import draws
from loradrift.statistics import Interval, t_interval
from loradrift.statistics.bootstrap import draw_shares
from loradrift.statistics.bounded import Bounded
from loradrift.statistics.values import Array, snap

NUM_RESAMPLES = 2000

COSTS = ("loss", "loss_rise", "loss_rise_low", "loss_rise_high", "neutral_rows", "accuracy",
         "accuracy_loss", "accuracy_loss_low", "accuracy_loss_high", "task_rows")  # fmt: skip
"""Nats per token on neutral text, and accuracy on a task: as they are, and against no steering."""


def dose_table(curves: Sequence[Curve], seed: int) -> pd.DataFrame:
    """One row per trait, arm and dose."""
    plain = {each.steered: each for each in curves if each.arm.kind == "none"}
    rows = []
    for curve in curves:
        weights_RN = draws(curve.steered, seed, curve.num_questions)
        nothing = plain.get(curve.steered)
        for place, dose in enumerate(curve.doses_D):
            own = curve.cells[float(dose)]
            row = _scores(curve, place, weights_RN)
            base = nothing.cells[0.0] if nothing is not None else curve.cells[0.0]
            rows.append(row | _statuses(own, curve.judged) | _costs(own, base, seed))
    return pd.DataFrame(rows)


def _scores(curve: Curve, place: int, weights_RN: Array) -> dict[str, Any]:
    n = curve.num_questions
    trait, coherence = curve.trait_at(place, weights_RN), curve.coherence_at(place, weights_RN)
    gain = trait.minus(curve.trait_at(curve.zero, weights_RN))
    row: dict[str, Any] = {
        "trait": curve.steered,
        "arm": curve.arm.kind,
        "variant": curve.arm.variant,
        "dose": float(curve.doses_D[place]),
    }
    for name, estimate in (("score", trait), ("coherence", coherence), ("gain", gain)):
        interval = estimate.interval(n)
        ends = interval.low, interval.high
        if name != "gain":  # no mean of scores lies beyond the scale
            ends = max(ends[0], 0.0), min(ends[1], 100.0)
        row |= {name: interval.estimate, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return row | {"questions": n}


def _statuses(cells: Sequence[Judged], judged: str) -> dict[str, int]:
    counts = [each.counts(judged) for each in cells]
    return {status: sum(each[status] for each in counts) for status in STATUSES}


def _costs(cells: Sequence[Judged], base: Sequence[Judged], seed: int) -> dict[str, Any]:
    """Means over the seeds of a dose; NaN where nothing was measured."""
    neutral = [_neutral(each, base[0], seed) for each in cells]
    task = [_accuracy(each, base[0]) for each in cells]
    found = [{**a, **b} for a, b in zip(neutral, task, strict=True)]
    return {name: float(np.mean([each.get(name, np.nan) for each in found])) for name in COSTS}


def _neutral(cell: Judged, base: Judged, seed: int) -> Mapping[str, float]:
    """Loss on the same neutral rows as without steering."""
    own, plain = _paired(cell.cell.neutral, base.cell.neutral, ("tokens", "nats"))
    if own is None or plain is None or (own["tokens"] != plain["tokens"]).any():
        return {}
    tokens_N = own["tokens"].to_numpy(dtype=float)
    nats_N, base_N = (each["nats"].to_numpy(dtype=float) for each in (own, plain))
    rise_N = snap(nats_N - base_N, nats_N, base_N)
    value = float(rise_N.sum() / tokens_N.sum())
    rng = np.random.default_rng([seed, zlib.crc32(b"neutral")])
    shares_RN = draw_shares(rng, NUM_RESAMPLES, len(tokens_N))
    resamples_R = (shares_RN @ rise_N) / (shares_RN @ tokens_N)
    interval = Bounded.certain(value, resamples_R).interval(len(tokens_N))
    return {
        "loss": float(nats_N.sum() / tokens_N.sum()),
        "loss_rise": value,
        "loss_rise_low": interval.low,
        "loss_rise_high": interval.high,
        "neutral_rows": len(tokens_N),
    }


def _accuracy(cell: Judged, base: Judged) -> Mapping[str, float]:
    """Share of the same rows of a task that is answered right."""
    own, plain = _paired(cell.cell.task, base.cell.task, ("correct",))
    if own is None or plain is None:
        return {}
    right_N, base_N = (each["correct"].to_numpy(dtype=float) for each in (own, plain))
    interval = paired_shares(right_N, base_N)
    return {
        "accuracy": float(right_N.mean()),
        "accuracy_loss": -interval.estimate,
        "accuracy_loss_low": -interval.high,
        "accuracy_loss_high": -interval.low,
        "task_rows": len(right_N),
    }


def paired_shares(right_N: Array, base_N: Array) -> Interval:
    """Difference of two shares on the same rows, by the t interval of the rows' differences.

    Where every row agrees, the interval is that of no success in N tries, on either side (the rule
    of three): rows that agree by luck show no equality.

    Example:
        >>> paired_shares(np.array([1.0, 1, 0]), np.array([1.0, 0, 0])).estimate
        0.3333333333333333
    """
    if len(right_N) < 2:
        return Interval(float((right_N - base_N).mean()), np.nan, np.nan, 0, 0.95)
    found = t_interval(right_N - base_N)
    if not (right_N - base_N).any():
        end = float(stats.beta.ppf(0.975, 1, len(right_N)))
        return found._replace(low=-end, high=end, note="")
    return found


def _paired(
    own: Mapping[str, Any] | None, base: Mapping[str, Any] | None, columns: tuple[str, ...]
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Both sides' rows by id; None where a side lacks them, or they are not the same rows."""
    if not (own and base and own["rows"] and base["rows"]):
        return None, None
    left, right = (pd.DataFrame(each["rows"]) for each in (own, base))
    if not {"id", *columns} <= {*left.columns} & {*right.columns}:
        return None, None
    left, right = (each.set_index("id")[list(columns)].sort_index() for each in (left, right))
    return (left, right) if left.index.equals(right.index) else (None, None)
