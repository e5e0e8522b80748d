"""Estimates from scores of which some are unknown, with bootstrap intervals that say so.

A score that nobody could give is neither dropped nor made up: a statistic that rises with every
score is computed three times, with all unknown scores at the lowest value there is, at what the
known ones say, and at the highest (Manski 1990, AER 80:319). Its interval reaches from the lower
end of the first to the upper end of the third, and where nothing is unknown the three are one.

Intervals are bootstrap percentiles over units, drawn with repetition by the caller once for all
that is compared, so that differences are paired. Percentiles of few units are too narrow: units
drawn so spread by sqrt((n - 1) / n), and the normal's quantile is not the t's. The tail that is cut
off is therefore the normal's beyond sqrt(n / (n - 1)) t(n - 1) (Hesterberg 2015,
doi:10.1080/00031305.2015.1089789, section 4.3). What takes the best of several is biased upwards,
in a resample as in the data, and more certain in one direction than in the other: an interval holds
both the percentiles and the percentiles turned round the estimate (the basic interval; Davison &
Hinkley 1997, sections 5.2 and 5.3), as far as resamples reach.
"""

# Shape suffixes: V values (unknown scores lowest, as the known ones, highest), R resamples.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from loradrift.statistics.intervals import Interval, check_confidence
from loradrift.statistics.values import Array

UNDEFINED = 0.05
"""Share of the resamples in which an estimate with an interval may be undefined."""

ONE_UNIT = "one unit: no spread, hence no interval"


class Bounded(NamedTuple):
    """An estimate and its resamples, each for the three ways to fill what is unknown."""

    values_V: Array
    resamples_VR: Array

    @classmethod
    def certain(cls, value: float, resamples_R: Array) -> "Bounded":
        """An estimate from scores that are all known."""
        return cls(np.full(3, value), np.broadcast_to(resamples_R, (3, len(resamples_R))))

    @property
    def value(self) -> float:
        """The estimate with unknown scores as the known ones."""
        return float(self.values_V[1])

    def minus(self, other: "Bounded") -> "Bounded":
        """The difference; unknown scores of one side are lowest where the other's are highest."""
        return Bounded(
            _difference(self.values_V, other.values_V[::-1]),
            _difference(self.resamples_VR, other.resamples_VR[::-1]),
        )

    def interval(self, num_units: int, confidence: float = 0.95) -> Interval:
        """The interval over so many units; NaN ends where there is none.

        Example:
            >>> rows = np.array([[0.0, 1.0, 2.0]] * 3)
            >>> Bounded(np.array([1.0, 1.0, 1.0]), rows).interval(2).high
            2.0
        """
        check_confidence(confidence)
        known = not np.isnan(self.values_V).any()
        nothing = Interval(self.value, np.nan, np.nan, num_units - 1, confidence)
        if num_units < 2:
            return nothing._replace(note=ONE_UNIT)
        unknown = np.isnan(self.resamples_VR)
        if not known or (unknown.mean(axis=1) > UNDEFINED).any():
            return nothing._replace(note="not defined in some of the resamples")
        tail = expanded_tail(num_units, confidence)
        ends = [
            _ends(value, resamples_R[~np.isnan(resamples_R)], tail)
            for value, resamples_R in zip(self.values_V, self.resamples_VR, strict=True)
        ]
        return nothing._replace(low=min(low for low, _ in ends), high=max(high for _, high in ends))


def _ends(value: float, resamples_R: Array, tail: float) -> tuple[float, float]:
    """Of the percentile interval and the basic one together, within what resamples reach."""
    least, low, high, most = np.quantile(resamples_R, [0, tail, 1 - tail, 1])
    ends = np.clip([min(low, 2 * value - high), max(high, 2 * value - low)], least, most)
    return float(ends[0]), float(ends[1])


def _difference(x: Array, y: Array) -> Array:
    """``x - y``, and 0 where they differ by the rounding of their sums alone."""
    return np.where(np.isclose(x, y, rtol=1e-12, atol=1e-12), 0.0, x - y)


def mean_of(parts: Sequence[Bounded]) -> Bounded:
    """The mean of estimates whose resamples belong together, or were drawn independently.

    Example:
        >>> one = Bounded(np.zeros(3), np.zeros((3, 2)))
        >>> mean_of([one, Bounded(np.ones(3), np.ones((3, 2)))]).value
        0.5
    """
    return Bounded(
        np.mean([part.values_V for part in parts], axis=0),
        np.mean([part.resamples_VR for part in parts], axis=0),
    )


def expanded_tail(num_units: int, confidence: float = 0.95) -> float:
    """The share of resamples beyond each end of an interval over so many units.

    Example:
        >>> round(expanded_tail(20), 4)
        0.0159
    """
    t = -special.stdtrit(num_units - 1, (1 - confidence) / 2)
    return float(special.ndtr(-np.sqrt(num_units / (num_units - 1)) * t))
