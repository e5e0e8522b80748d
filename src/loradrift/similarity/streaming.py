"""How measures keep what they have seen: as sums where those suffice, else as rows."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from loradrift.similarity.functional.inputs import MIN_ROWS, check_aligned, float_array
from loradrift.similarity.functional.sufficient_stats import (
    Cross,
    SufficientStats,
    extended,
    merge,
    moments,
)

CHUNK = 1024
"""Rows that wait to be reduced together: with fewer the products would be slower, and with more
their copies leave the cache and are fresh memory each time."""


class BufferedRows(Metric):
    """Rows seen and not yet reduced, as the states ``rows_x`` and ``rows_y``."""

    higher_is_better = None  # more similar is neither better nor worse
    is_differentiable = False
    full_state_update = False
    rows_x: list[Tensor]
    rows_y: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows_x", [], dist_reduce_fx="cat")
        self.add_state("rows_y", [], dist_reduce_fx="cat")

    def update(self, x_ND: Tensor, y_NE: Tensor) -> None:
        """Add one batch: two matrices with equally many rows, else ValueError."""
        check_aligned(x_ND, y_NE)
        self.rows_x.append(x_ND.detach())
        self.rows_y.append(y_NE.detach())

    def waiting(self) -> tuple[Tensor, Tensor]:
        """All rows that wait, as two matrices."""
        # after a synchronisation the state is one tensor
        sides = (self.rows_x, self.rows_y)
        x, y = (side if isinstance(side, Tensor) else torch.cat(side) for side in sides)
        return x, y


class SummedRows(BufferedRows):
    """A measure of sums over rows of widths ``dim_x`` (D) and ``dim_y`` (E)."""

    full_state_update = True  # sums about different shifts are merged, not added

    def __init__(self, dim_x: int, dim_y: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shapes = _shapes(dim_x, dim_y)
        for name, shape in self._shapes.items():
            # Each process's sums are about its own shift: gathered, not added. The products, which
            # are large, are empty until there are rows.
            empty = torch.zeros([0] * len(shape) if len(shape) == 2 else shape, dtype=torch.float64)
            self.add_state(name, empty, dist_reduce_fx=None)

    def update(self, x_ND: Tensor, y_NE: Tensor) -> None:
        """Add one batch: as above, and of the widths that were given, else ValueError."""
        check_aligned(x_ND, y_NE)
        got = (x_ND.shape[1], y_NE.shape[1])
        wanted = (*self._shapes["shift_x"], *self._shapes["shift_y"])
        if got != wanted:
            raise ValueError(f"expected activations of widths {wanted}, got {got}")
        super().update(x_ND, y_NE)
        if sum(map(len, self.rows_x)) >= CHUNK:
            self._reduce()

    def _reduce(self) -> None:
        """Add the rows that wait to the sums of this process."""
        if not self.rows_x:
            return
        sums = _nested([getattr(self, name).cpu().numpy() for name in self._shapes])
        x_BND, y_BNE = (list(map(float_array, rows)) for rows in (self.rows_x, self.rows_y))
        if sums.xy.n >= sum(map(len, self.rows_x)):  # about the same shift, sums are only added
            self._keep(extended(sums, x_BND, y_BNE))
        elif sums.xy.n:
            self._keep(merge(moments(x_BND, y_BNE), sums))
        else:
            self._keep(moments(x_BND, y_BNE))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Exchange the states between processes, which need equal shapes and dtypes for it."""
        available = kwargs.get("distributed_available") or self.distributed_available_fn
        if available() and not self._is_synced:
            self._reduce()
            for name, shape in self._shapes.items():
                state = getattr(self, name)
                whole = state.double() if state.numel() else torch.zeros(shape).double()
                setattr(self, name, whole.to(self.device))
        super().sync(*args, **kwargs)

    def total(self) -> SufficientStats:
        """The moments of all rows seen so far, by all processes after a synchronisation."""
        if not self._is_synced:
            self._reduce()
        states = [getattr(self, name).cpu().numpy() for name in self._shapes]
        own = zip(*states, strict=True) if self._is_synced else [states]
        parts = list(map(_nested, own))
        seen = [part for part in parts if part.xy.n]
        return reduce(merge, seen) if seen else parts[0]

    def _keep(self, total: SufficientStats) -> None:
        values = (total.shift_x, total.shift_y, *total.xx, *total.yy, *total.xy)
        for name, value in zip(self._shapes, values, strict=True):
            setattr(self, name, torch.as_tensor(value, device=self.device))
        self.rows_x, self.rows_y = [], []

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows that another instance of the same kind has seen; TypeError for any other."""
        kinds = type(self).__name__, type(incoming_state).__name__
        if not isinstance(incoming_state, type(self)):
            raise TypeError(f"expected a {kinds[0]}, got {kinds[1]}")
        totals = [part for part in (self.total(), incoming_state.total()) if part.xy.n]
        if totals:
            self._keep(reduce(merge, totals))
        self._update_count += incoming_state._update_count
        self._computed = None

    def compute(self) -> Tensor:
        """The value over everything seen so far; ValueError if fewer than 4 rows were seen."""
        total = self.total()
        if total.xy.n < MIN_ROWS:
            raise ValueError(f"expected at least {MIN_ROWS} rows, got {int(total.xy.n)}")
        return torch.tensor(self.of_moments(total), dtype=torch.float64)

    @staticmethod
    def of_moments(total: SufficientStats) -> float:
        """The value of all rows' moments."""
        raise NotImplementedError


def _shapes(d: int, e: int) -> dict[str, tuple[int, ...]]:
    """State name -> its shape, in the order of the fields."""
    shapes: dict[str, tuple[int, ...]] = {"shift_x": (d,), "shift_y": (e,)}
    for pair, (first, second) in {"xx": (d, d), "yy": (e, e), "xy": (d, e)}.items():
        sizes = ((), (first,), (second,), (first, second), (), (), (second,), (first,), ())
        shapes |= {f"{pair}_{name}": size for name, size in zip(Cross._fields, sizes, strict=True)}
    return shapes


def _nested(values: Sequence[Any]) -> SufficientStats:
    size = len(Cross._fields)
    crosses = (Cross(*values[i : i + size]) for i in range(2, len(values), size))
    return SufficientStats(values[0], values[1], *crosses)
