"""The measures as torchmetrics: batch by batch, and merged across processes.

Where sums over rows suffice, the states are sums. ``cosine_centered``, ``cka_rbf``, ``knn`` and
``rsa`` are functions of all pairs of rows: their states are the rows.

>>> x, y = torch.randn(2, 100, 8, generator=torch.Generator().manual_seed(0))
>>> metric = CKA(8, 8)
>>> metric.update(x[:60], y[:60]); metric.update(x[60:], y[60:])
>>> abs(metric.compute().item() - MEASURES["cka"](x, y)) < 1e-6
True
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from loradrift.similarity.functional.cosine import row_cosines
from loradrift.similarity.functional.from_sufficient_stats import (
    cka_of_moments,
    procrustes_of_moments,
    pwcca_of_moments,
    svcca_of_moments,
)
from loradrift.similarity.functional.inputs import MIN_ROWS
from loradrift.similarity.functional.sufficient_stats import SufficientStats
from loradrift.similarity.measures import MEASURES
from loradrift.similarity.streaming import BufferedRows, SummedRows


class Cosine(Metric):
    """:func:`~loradrift.similarity.functional.cosine.cosine` over batches."""

    higher_is_better = None
    is_differentiable = False
    full_state_update = False
    total: Tensor
    num_rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_rows", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, x_ND: Tensor, y_ND: Tensor) -> None:
        """Add one batch of aligned activations of equal width; ValueError for any other."""
        self.total += float(row_cosines(x_ND, y_ND).sum())
        self.num_rows += len(x_ND)

    def compute(self) -> Tensor:
        """The mean over all rows; ValueError if fewer than 4 were seen, as for every measure."""
        if self.num_rows < MIN_ROWS:
            raise ValueError(f"expected at least {MIN_ROWS} rows, got {int(self.num_rows)}")
        return self.total / self.num_rows


class _AllRows(BufferedRows):
    """A measure of all pairs of rows."""

    measure: str

    def compute(self) -> Tensor:
        """The value over everything seen so far; ValueError if fewer than 4 rows were seen."""
        if not len(self.rows_x):
            raise ValueError(f"expected at least {MIN_ROWS} rows, got 0")
        return torch.tensor(MEASURES[self.measure](*self.waiting()), dtype=torch.float64)


def _summed(name: str, of_moments: Callable[[SufficientStats], float]) -> type[SummedRows]:
    members = {"of_moments": staticmethod(of_moments), "__module__": __name__}
    return type(name, (SummedRows,), members)


def _buffered(name: str, measure: str) -> type[_AllRows]:
    return type(name, (_AllRows,), {"measure": measure, "__module__": __name__})


CKA = _summed("CKA", lambda total: cka_of_moments(total).debiased)
CKABiased = _summed("CKABiased", lambda total: cka_of_moments(total).biased)
Procrustes = _summed("Procrustes", procrustes_of_moments)
SVCCA = _summed("SVCCA", svcca_of_moments)
PWCCA = _summed("PWCCA", pwcca_of_moments)
CosineCentered = _buffered("CosineCentered", "cosine_centered")
CKARBF = _buffered("CKARBF", "cka_rbf")
KNN = _buffered("KNN", "knn")
RSA = _buffered("RSA", "rsa")

METRICS: MappingProxyType[str, type[Metric]] = MappingProxyType(
    {
        "cka": CKA, "cka_biased": CKABiased, "cka_rbf": CKARBF, "cosine": Cosine,
        "cosine_centered": CosineCentered, "procrustes": Procrustes, "svcca": SVCCA,
        "pwcca": PWCCA, "knn": KNN, "rsa": RSA,
    }
)  # fmt: skip
"""Name of a measure -> its metric."""
