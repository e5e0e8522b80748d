"""How far an arm moves a trait while its answers stay coherent.

Methods are compared at the same coherence, never at the same coefficient. With trait t(c) and
coherence k(c) at dose c, straight between the measured doses, the frontier is

    F(x) = max { t(c) : k(c) >= x },

x the coherence that is asked for. Doses of a discrete arm have nothing between them. The area is
the mean over x from 50 to 100 of F(x) - t(0), with 0 where no dose is so coherent or none gains:
an arm can be left off.
"""

# Shape suffixes: D doses from 0 on; any shape before it (values, resamples).

from typing import NamedTuple

import numpy as np

from loradrift.statistics.values import Array

AREA_FROM = 50.0
"""Below this coherence an answer is none, as in the data's own filter of training pairs."""

AREA_POINTS = 26


class Place(NamedTuple):
    """Where the frontier takes its value; NaN where no dose is coherent enough."""

    dose: float
    trait: float


def best_at(traits: Array, coherences: Array, threshold: float, *, joined: bool) -> Array:
    """The highest trait (...) of curves (..., D) at a coherence of at least ``threshold``.

    NaN where no dose is that coherent. ``joined`` curves are straight between their doses.

    Example:
        >>> curve = np.array([10.0, 90.0]), np.array([100.0, 50.0])
        >>> float(best_at(*curve, 75, joined=True)), float(best_at(*curve, 75, joined=False))
        (50.0, 10.0)
    """
    coherent = coherences >= threshold
    best = np.where(coherent, traits, -np.inf).max(axis=-1)
    if joined:
        crossing = coherent[..., 1:] != coherent[..., :-1]
        step = np.diff(coherences, axis=-1)
        share = (threshold - coherences[..., :-1]) / np.where(crossing, step, 1.0)
        there = traits[..., :-1] + share * np.diff(traits, axis=-1)
        best = np.maximum(best, np.where(crossing, there, -np.inf).max(axis=-1, initial=-np.inf))
    return np.where(np.isfinite(best), best, np.nan)


def area(traits: Array, coherences: Array, *, joined: bool) -> Array:
    """Mean gain (...) over dose 0, the first one, over coherences from 50 to 100.

    Example:
        >>> curve = np.array([10.0, 90.0]), np.array([100.0, 50.0])
        >>> round(float(area(*curve, joined=True)), 1)
        40.0
    """
    thresholds = np.linspace(AREA_FROM, 100.0, AREA_POINTS)
    gains = [
        np.fmax(best_at(traits, coherences, x, joined=joined) - traits[..., 0], 0.0)
        for x in thresholds
    ]
    return np.asarray(np.trapezoid(np.stack(gains), thresholds, axis=0) / (100.0 - AREA_FROM))


def best_place(
    doses_D: Array, traits_D: Array, coherences_D: Array, threshold: float, *, joined: bool
) -> Place:
    """The dose at which one curve is best; of equal ones the smallest.

    Example:
        >>> curve = np.array([0.0, 2.0]), np.array([10.0, 90.0]), np.array([100.0, 50.0])
        >>> best_place(*curve, 75, joined=True)
        Place(dose=1.0, trait=50.0)
    """
    places = [
        Place(float(dose), float(trait))
        for dose, trait, coherence in zip(doses_D, traits_D, coherences_D, strict=True)
        if coherence >= threshold
    ]
    for i in range(len(doses_D) - 1) if joined else ():
        (k0, k1), (t0, t1) = coherences_D[i : i + 2], traits_D[i : i + 2]
        if (k0 >= threshold) != (k1 >= threshold):
            share = (threshold - k0) / (k1 - k0)
            dose = doses_D[i] + share * (doses_D[i + 1] - doses_D[i])
            places.append(Place(float(dose), float(t0 + share * (t1 - t0))))
    order = sorted(places, key=lambda place: (-place.trait, abs(place.dose)))
    return order[0] if order else Place(np.nan, np.nan)
