"""One check for every measure: the function, its metric over batches, and merged metrics agree."""

import pytest
from torch import Tensor
from torchmetrics import Metric

from loradrift.similarity import MEASURES
from loradrift.similarity.metrics import METRICS
from loradrift.similarity.reference import reference
from loradrift.similarity.streaming import SummedRows


def build(name: str, d: int, e: int) -> Metric:
    """The metric of a measure, for sides of these widths."""
    kind = METRICS[name]
    return kind(d, e) if issubclass(kind, SummedRows) else kind()


def fed(name: str, x: Tensor, y: Tensor, batch_size: int | list[int]) -> Metric:
    """A metric that has seen all rows, in batches."""
    metric = build(name, x.shape[1], y.shape[1])
    for rows in zip(x.split(batch_size), y.split(batch_size), strict=True):
        metric.update(*rows)
    return metric


def assert_agree(name: str, x: Tensor, y: Tensor, batch_size: int) -> None:
    """The published formula, the function, the metric and two merged metrics give one value.

    The halves are unequal, and a metric that has seen nothing is merged in front of them.
    """
    value = MEASURES[name](x, y)
    assert value == pytest.approx(reference(name, x, y), abs=1e-5)
    assert fed(name, x, y, batch_size).compute().item() == pytest.approx(value, rel=1e-6)
    cut = len(x) // 4
    merged = build(name, x.shape[1], y.shape[1])
    for part in (slice(cut), slice(cut, None)):
        merged.merge_state(fed(name, x[part], y[part], batch_size))
    assert merged.compute().item() == pytest.approx(value, rel=1e-6)
