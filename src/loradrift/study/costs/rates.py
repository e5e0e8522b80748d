"""The cost model: how long a run takes, from counts and measured rates alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
"""Of each batch its rows times its width, padding included."""


class Point(NamedTuple):
    """What one batch took."""

    positions: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run computes."""

    steps: Positions
    """Micro-batches that it trains on."""

    updates: int
    """Optimizer steps, each after ``trainer.accumulate`` of these."""

    forwards: Positions
    """Batches that it evaluates or dumps, each as often as it does."""

    neutral: Positions
    """Batches of neutral text, whose next tokens it predicts."""

    written: int
    """Bytes of its checkpoints, each as often as it is written."""

    read_s: float
    """Seconds of reading rows and tokens."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one model, method, precision and machine take; seconds of an idle machine."""

    load_s: float
    """Loading the model and making it trainable."""

    step: Sequence[Point]
    """Gradients of micro-batches of several sizes, the smallest first."""

    update_s: float
    """An optimizer step by them, clipping included."""

    forward: Sequence[Point]
    """The same of evaluations."""

    neutral_s: float
    """For each position of neutral text."""

    write_s: float
    """For each byte of a checkpoint."""

    finish_s: float
    """The export, and an adapter's certificate."""

    peak_bytes: int
    """Largest memory of the process that measured, which had the longest batch in it."""


def run_seconds(work: Work, rates: Rates) -> float:
    """Seconds of a run from its begin to its end."""
    batches = at(rates.step, work.steps).sum() + at(rates.forward, work.forwards).sum()
    batches += rates.update_s * work.updates
    neutral = rates.neutral_s * float(work.neutral.sum())
    ends = work.read_s + rates.load_s + rates.write_s * work.written + rates.finish_s
    return float(batches) + neutral + ends


def at(points: Sequence[Point], positions: Positions) -> NDArray[np.float64]:
    """Seconds of batches, on the lines between the measured ones.

    Beyond the ends the nearest line goes on; a single point scales with its positions.

    >>> at([Point(100, 2.0), Point(300, 4.0)], np.array([100, 200, 500])).tolist()
    [2.0, 3.0, 6.0]
    """
    size_P = np.array([point.positions for point in points], dtype=np.float64)
    seconds_P = np.maximum.accumulate([point.seconds for point in points])
    share_B: NDArray[np.float64] = positions / size_P[0]
    if len(points) == 1:
        alone: NDArray[np.float64] = share_B * float(seconds_P[0])
        return alone
    first, last = np.diff(seconds_P)[[0, -1]] / np.diff(size_P)[[0, -1]]
    below = np.maximum(0, size_P[0] - positions) * first
    above = np.maximum(0, positions - size_P[-1]) * last
    # a part of a batch takes its part of the time at least, whatever the noise of the two points
    least = np.minimum(1, share_B) * seconds_P[0]
    found: NDArray[np.float64] = np.interp(positions, size_P, seconds_P) - below + above
    return np.asarray(np.maximum(found, least), dtype=np.float64)


def side_by_side(seconds: Sequence[float], at_a_time: int) -> float:
    """Seconds until the last of some cells has ended, each begun as soon as another ends.

    >>> side_by_side([3.0, 1.0, 1.0, 1.0], 2)
    3.0
    """
    free = [0.0] * max(1, at_a_time)
    for each in seconds:
        free[free.index(min(free))] += each
    return max(free)
