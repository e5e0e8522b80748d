"""The measures by name, and what each states about itself as data."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from loradrift.similarity.functional.cca import pwcca, pwcca_distance, svcca, svcca_distance
from loradrift.similarity.functional.cka import (
    cka,
    cka_biased,
    cka_biased_distance,
    cka_distance,
    cka_rbf,
    cka_rbf_distance,
)
from loradrift.similarity.functional.cosine import (
    cosine,
    cosine_centered,
    cosine_centered_distance,
    cosine_distance,
)
from loradrift.similarity.functional.neighbors import knn, knn_distance, rsa, rsa_distance
from loradrift.similarity.functional.procrustes import procrustes

Function = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Measure:
    """A measure of two row-aligned matrices: call it for the value, or ask for the distance.

    >>> x = torch.randn(50, 8)
    >>> round(MEASURES["cka"](x, 3 * x), 5), MEASURES["cka"].distance(x, x) < 1e-9
    (1.0, True)
    """

    name: str
    value: Function
    distance: Function
    """0 for equal sides, and right there: a float32 value is never subtracted from 1."""

    lowest: float
    highest: float
    identical: float
    """The value of a side compared with itself."""

    invariances: frozenset[str]
    """Some of ``rotation`` (either side by its own), ``scaling`` and ``translation`` (likewise),
    ``joint_rotation`` (both by the same), ``row_order`` (both in the same)."""

    symmetric: bool = True
    equal_widths: bool = False
    """Whether columns are compared one by one."""

    unrelated: float | None = None
    """The value of unrelated sides, whatever N and D; None if it depends on them."""

    min_rows: int = 4

    def __call__(self, x_ND: Tensor, y_NE: Tensor) -> float:
        """The value; see the function itself for its errors."""
        return self.value(x_ND, y_NE)


_ROWS = frozenset({"row_order"})
_ANGLES = _ROWS | {"joint_rotation", "scaling"}
_STRETCH = _ROWS | {"scaling", "translation"}
_EUCLIDEAN = _STRETCH | _ANGLES | {"rotation"}

_ALL = (
    Measure("cka", cka, cka_distance, -1, 1, 1, _EUCLIDEAN, unrelated=0),
    Measure("cka_biased", cka_biased, cka_biased_distance, 0, 1, 1, _EUCLIDEAN),
    Measure("cka_rbf", cka_rbf, cka_rbf_distance, -1, 1, 1, _EUCLIDEAN, unrelated=0),
    Measure("cosine", cosine, cosine_distance, -1, 1, 1, _ANGLES, equal_widths=True),
    Measure(
        "cosine_centered", cosine_centered, cosine_centered_distance, -1, 1, 1,
        _ANGLES | _STRETCH, equal_widths=True, unrelated=0,
    ),
    Measure("procrustes", procrustes, procrustes, 0, 2**0.5, 0, _EUCLIDEAN),
    Measure("svcca", svcca, svcca_distance, 0, 1, 1, _EUCLIDEAN),
    Measure("pwcca", pwcca, pwcca_distance, 0, 1, 1, _STRETCH, symmetric=False),
    Measure("knn", knn, knn_distance, 0, 1, 1, _ANGLES | {"rotation"}, min_rows=12),
    Measure("rsa", rsa, rsa_distance, -1, 1, 1, _ROWS | {"scaling"}, unrelated=0),
)  # fmt: skip

MEASURES = MappingProxyType({measure.name: measure for measure in _ALL})
"""Name -> measure."""
