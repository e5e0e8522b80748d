"""What the tests ask of their numbers."""

# Shape suffixes: S seeds, T tasks, B blocks (one per seed and task), L layers, N rows.

from collections.abc import Mapping
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]

ROUNDING = 1e-12
"""Relative size below which a difference is what float64 leaves of zero."""

ONE_SEED = "one value: no spread, hence no interval and no t test"
NO_VARIANCE = "all values are equal: the t test is undefined and the interval has no width"


def finite(values: ArrayLike, name: str = "values") -> Array:
    """Any shape as float64: at least one value, and all finite.

    Example:
        >>> finite([[1, 2]])
        array([[1., 2.]])
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers and at least one, got {array.tolist()}")
    return array


def vector(values: ArrayLike, name: str = "values") -> Array:
    """One finite value per unit.

    Example:
        >>> vector([1, 2])
        array([1., 2.])
    """
    array = finite(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one value per seed, got shape {array.shape}")
    return array


def pairs(treatment: ArrayLike, control: ArrayLike) -> tuple[Array, Array]:
    """Both arms' values, paired by seed: two finite vectors of equal length.

    Example:
        >>> pairs([1], [2])
        (array([1.]), array([2.]))
    """
    left, right = vector(treatment, "treatment"), vector(control, "control")
    if len(left) != len(right):
        lengths = f"{len(left)} and {len(right)}"
        raise ValueError(
            f"treatment and control must have a value for the same seeds, got {lengths}"
        )
    return left, right


def stack(by_task: Mapping[str, ArrayLike]) -> Array:
    """Values per task as a table (S, T), seeds in the order given.

    Raises:
        ValueError: If there is no task, or tasks differ in their number of seeds.

    Example:
        >>> stack({"sst2": [1, 2], "rte": [3, 4]}).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    if not by_task:
        raise ValueError("by_task must have at least one task, got none")
    columns = {task: np.atleast_1d(np.asarray(v, np.float64)) for task, v in by_task.items()}
    shapes = {task: column.shape for task, column in columns.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) > 1 for shape in shapes.values()):
        raise ValueError(f"every task must have one value for each seed, got shapes {shapes}")
    return np.stack(list(columns.values()), axis=1)


def snap(differences: Array, *operands: ArrayLike) -> Array:
    """Differences with those that are only rounding of their operands made exactly zero.

    Without this, methods that are equal get p-values from the last bit of their numbers. Columns
    (layers) are compared with their own scale.

    Example:
        >>> snap(np.array([0.1 + 0.2 - 0.3, 0.1]), [0.3, 0.3]).tolist()
        [0.0, 0.1]
    """
    scales = (np.abs(np.atleast_1d(operand)).max(axis=0) for operand in operands)
    return np.where(np.abs(differences) <= ROUNDING * reduce(np.maximum, scales), 0.0, differences)


def contrast(left: Array, right: Array) -> Array:
    """``left - right``, exactly equal where only rounding tells the differences apart.

    Example:
        >>> len(set(contrast(np.array([1.1, 2.1]), np.array([1.0, 2.0]))))
        1
    """
    differences = snap(left - right, left, right)
    mean = differences.mean()
    level: Array = mean + snap(differences - mean, left, right)
    return level


def constant(values: Array) -> bool:
    """Whether the values are equal up to rounding.

    Example:
        >>> constant(np.array([0.3, 0.1 + 0.2]))
        True
    """
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())
