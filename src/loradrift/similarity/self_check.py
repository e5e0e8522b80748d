"""The instruments' self-test: it runs before each report, is printed in it, and can stop it."""

# Shape suffixes: N examples, D representation width.

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from loradrift.similarity.measures import MEASURES, Measure
from loradrift.similarity.reference import reference


class SelfCheck(NamedTuple):
    """One property that a measure has to have, and what was found."""

    measure: str
    claim: str
    expected: float
    measured: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; NaN never is."""
        return abs(self.measured - self.expected) <= self.tolerance


class SelfCheckError(Exception):
    """An instrument does not measure what it says."""


def self_check(measures: Iterable[str] = tuple(MEASURES), *, seed: int = 0) -> list[SelfCheck]:
    """Try every claim of the measures on fresh random data; all checks, whether they hold or not.

    >>> checks = self_check(["cosine"])
    >>> len(checks), all(check.holds for check in checks)
    (8, True)
    """
    return [
        SelfCheck(name, *claim)
        for name in measures
        for claim in _claims(MEASURES[name], torch.Generator().manual_seed(seed))
    ]


def raise_failed(checks: Sequence[SelfCheck]) -> None:
    """Raise SelfCheckError that names each check that does not hold.

    >>> raise_failed([SelfCheck("cka", "self-similarity", 1.0, 1.0, 1e-6)])
    """
    failed = [
        f"{check.measure}: {check.claim} is {check.measured:.6g}, must be {check.expected:.6g} to "
        f"{check.tolerance:.1g}"
        for check in checks
        if not check.holds
    ]
    if failed:
        raise SelfCheckError("; ".join(failed))


def _claims(measure: Measure, generator: Generator) -> Iterator[tuple[str, float, float, float]]:
    """Each claim with the value expected, the value measured, and the tolerance."""
    x_ND = torch.randn(96, 24, generator=generator) * torch.logspace(0, -1, 24)
    y_ND = x_ND + 0.5 * torch.randn(96, 24, generator=generator)
    value, exact = measure(x_ND, y_ND), reference(measure.name, x_ND, y_ND)
    yield "self-similarity", measure.identical, measure(x_ND, x_ND), 1e-6
    yield "distance to itself", 0.0, measure.distance(x_ND, x_ND), 1e-6
    yield "the published formula in float64", exact, value, 1e-5
    if measure.identical == 1:
        yield "1 - value as a distance", 1 - value, measure.distance(x_ND, y_ND), 1e-6
    for name in sorted(measure.invariances):
        yield f"after {name}", value, measure(*_changed(name, x_ND, y_ND, generator)), 1e-5
    if measure.name != "rsa":  # whose rows are correlated over columns, empty ones too
        padded = (torch.nn.functional.pad(side_ND, (0, 8)) for side_ND in (x_ND, y_ND))
        yield "after empty columns", value, measure(*padded), 1e-5
    if measure.unrelated is not None:
        # wider than they are long: where biased measures fail
        draws = [torch.randn(2, 64, 256, generator=generator) for _ in range(20)]
        mean = sum(measure(x, y) for x, y in draws) / len(draws)
        yield "independent noise", measure.unrelated, mean, 0.02
    for size in (1.0, 0.1, 1e-6):
        for planted in (each for each in PLANTED if each.measure == measure.name):
            n, d = planted.shape
            ratio = _planted_ratio(measure, planted, size, generator)
            yield f"planted drift of {size:g} in {n} x {d}", 1.0, ratio, 0.1


class Planted(NamedTuple):
    """A measure's distance of white noise to the same rows with white noise added to them."""

    measure: str
    shape: tuple[int, int]
    """Rows and columns: many rows, for which the distance has a closed form."""

    distance: Callable[[float], float]
    """The distance by the variance of what is added."""

    first_term: Callable[[float], float]
    """The same for a small variance, where the closed form has no digits left."""


def _cka_distance(variance: float) -> float:
    return variance / (1 + variance)


PLANTED = (
    # CKA sums over rows or over columns, as is cheaper
    Planted("cka", (2000, 32), _cka_distance, lambda v: v),
    Planted("cka", (400, 256), _cka_distance, lambda v: v),
    Planted("procrustes", (2000, 32), lambda v: math.sqrt(2 - 2 / math.sqrt(1 + v)), math.sqrt),
    Planted("cosine_centered", (2000, 32), lambda v: 1 - 1 / math.sqrt(1 + v), lambda v: v / 2),
)


def _planted_ratio(measure: Measure, planted: Planted, size: float, generator: Generator) -> float:
    """The distance measured over the distance planted."""
    n, d = planted.shape
    x_ND, noise_ND = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    exact = planted.distance if size > 1e-3 else planted.first_term
    return measure.distance(x_ND, x_ND + size * noise_ND) / exact(size**2)


def _changed(name: str, x_ND: Tensor, y_ND: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Both sides after what the measure should not notice."""
    n, d = x_ND.shape

    def rotation() -> Tensor:
        q_DD: Tensor = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
        return q_DD

    match name:
        case "rotation":
            return x_ND @ rotation(), y_ND @ rotation()
        case "joint_rotation":
            same = rotation()
            return x_ND @ same, y_ND @ same
        case "scaling":
            return x_ND * 1000, y_ND / 1000
        case "translation":
            shift_D = 10 * torch.randn(d, generator=generator)
            return x_ND + shift_D, y_ND - shift_D
        case "row_order":
            order = torch.randperm(n, generator=generator)
            return x_ND[order], y_ND[order]
        case _:
            raise AssertionError(f"no change is called {name}")
