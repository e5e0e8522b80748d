"""How much an arm gains over the baseline: a class only where the interval decides it."""

import math
from typing import NamedTuple

from loradrift.report.blocks import interval_text
from loradrift.statistics import Interval
from loradrift.statistics.values import ONE_SEED

CLASSES = {"strong": 10.0, "significant": 5.0, "marginal": 2.0}
"""Class -> the least gain in points of F1."""

NONE, UNDECIDED = "none", "undecided"

LINE = CLASSES["marginal"]

GAINS = (*CLASSES,)


class Effect(NamedTuple):
    """What an interval says of a gain."""

    verdict: str
    """``strong``, ``significant``, ``marginal``, ``none`` or ``undecided``."""

    at_least: bool = False
    """Whether the interval reaches beyond the class's upper line: the gain may be larger."""

    why: str = ""
    """What keeps it from a verdict, in one sentence without its end."""

    @property
    def text(self) -> str:
        """``at least marginal``, or ``undecided: …``."""
        if self.why:
            return f"{self.verdict}: {self.why}"
        return f"at least {self.verdict}" if self.at_least else self.verdict

    @property
    def gains(self) -> bool:
        """Whether there is a gain."""
        return self.verdict in CLASSES


def judge(interval: Interval | None) -> Effect:
    """The class of a gain, in points.

    It is given only if the interval lies within the class, or begins in it and ends beyond its
    upper line. One seed says nothing of others, and decides nothing.

    >>> [judge(Interval(0, *ends, 2, 0.95)).text for ends in ((11, 30), (6, 9), (3, 7), (-9, 1))]
    ['strong', 'significant', 'at least marginal', 'none']
    >>> judge(Interval(3, 1, 5, 2, 0.95)).text
    'undecided: the interval holds 2 points'
    """
    if interval is None:
        return Effect(UNDECIDED, why="no seed has both arms")
    if interval.note == ONE_SEED and not math.isnan(interval.low):
        own = judge(interval._replace(note="")).text
        return Effect(UNDECIDED, why=f"one seed tells nothing of others (over its rows: {own})")
    if interval.note or math.isnan(interval.low):
        return Effect(UNDECIDED, why=interval.note or "there is no interval")
    if interval.high < LINE:
        return Effect(NONE)
    upper = math.inf
    for name, least in CLASSES.items():
        if interval.low >= least:
            return Effect(name, at_least=interval.high >= upper)
        upper = least
    return Effect(UNDECIDED, why=f"the interval holds {LINE:g} points")


def mirrored(interval: Interval | None) -> Interval | None:
    """The interval of the opposite difference."""
    if interval is None:
        return None
    return interval._replace(estimate=-interval.estimate, low=-interval.high, high=-interval.low)


def side_text(interval: Interval | None) -> str:
    """The verdict of a difference, and that of its opposite where this says more.

    >>> side_text(Interval(-12, -14, -11, 2, 0.95))
    'none (a loss: strong)'
    """
    gain, loss = judge(interval), judge(mirrored(interval))
    return f"{gain.text} (a loss: {loss.text})" if loss.gains else gain.text


def direction(interval: Interval | None) -> str:
    """``lower``, ``higher`` or ``undecided``, of a difference of losses."""
    if interval is None or interval.note or math.isnan(interval.low):
        return UNDECIDED
    return "lower" if interval.high < 0 else "higher" if interval.low > 0 else UNDECIDED


def said(interval: Interval | None, unit: str = "points", digits: int = 3) -> str:
    """``+3.1 points (1 to 5)``."""
    if interval is None or math.isnan(interval.estimate):
        return "not defined"
    ends = interval_text(interval.low, interval.high, digits)
    return f"{interval.estimate:+.{digits}g} {unit} ({'no interval' if ends == '-' else ends})"
