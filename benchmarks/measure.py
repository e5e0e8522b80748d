"""Candidates side by side: CPU seconds in turns, and the median of the ratios."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Seconds = float
Times = dict[str, list[Seconds]]


def take_turns(candidates: dict[str, Callable[[], Seconds]], rounds: int) -> Times:
    """CPU seconds of each candidate in each round; one round more than asked warms up."""
    times: Times = {name: [] for name in candidates}
    for _ in range(rounds + 1):
        for name, measure in candidates.items():
            times[name].append(measure())
    return {name: values[1:] for name, values in times.items()}


def ratio(times: Times, above: str, below: str) -> float:
    """Median over the rounds of one candidate's seconds by another's."""
    pairs = zip(times[above], times[below], strict=True)
    return statistics.median(a / b for a, b in pairs)


def timed(function: Callable[[], None]) -> Seconds:
    """CPU seconds of all threads."""
    began = time.process_time()
    function()
    return time.process_time() - began


@contextmanager
def clock(times: list[Seconds]) -> Iterator[None]:
    """Append the CPU seconds of the block."""
    began = time.process_time()
    yield
    times.append(time.process_time() - began)
