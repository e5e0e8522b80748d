"""A claim with its verdict, and how intervals are written."""

import math
from typing import NamedTuple

from loradrift.report.blocks import interval_text
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Interval


class Finding(NamedTuple):
    """A claim with its verdict."""

    name: str
    claim: str
    verdict: Verdict
    why: str = ""
    """What keeps it from another verdict, or stands behind it; one sentence without its end."""

    lines: tuple[str, ...] = ()


def points(interval: Interval) -> str:
    """``+12 points (5 to 20)``."""
    if math.isnan(interval.estimate):
        return "not defined"
    ends = interval_text(interval.low, interval.high)
    said = "no interval" if ends == "-" else ends
    return f"{interval.estimate:+.3g} points ({said})"
