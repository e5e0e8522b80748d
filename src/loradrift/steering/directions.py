"""Directions as steering and analyses use them: weight changes, vectors, means of inputs, facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from loradrift.adapters.directions import (
    INPUT_MEANS,
    MAKES,
    VECTORS,
    check_base,
    read_direction_changes,
    read_direction_facts,
)
from loradrift.config import UserError
from loradrift.weights import LowRank
from loradrift.weights.stored import opened

PLACE = Path("persona", "directions")
"""Where directions lie below the results."""


@dataclass(frozen=True, eq=False)
class Direction:
    """The difference between a trait's positive and negative adapter, and what goes with it."""

    trait: str
    folder: Path
    changes: Mapping[str, LowRank]
    """By the modules' names in the language model."""

    vectors: Mapping[str, Tensor]
    """``response_avg``, ``prompt_avg`` and ``prompt_last``: each (L, D), a vector per block, of
    the states that it gives."""

    input_means: Mapping[str, Tensor]
    """The mean input (I) of each module that the direction changes."""

    facts: Mapping[str, Any]
    """``direction.json``."""

    def check_base(self, fingerprint: str) -> None:
        """Raise UserError unless the model with this fingerprint is the direction's own base."""
        check_base(self.facts, self.folder, fingerprint)


def read_direction(folder: Path) -> Direction:
    """Read a direction's folder whole.

    Raises:
        UserError: If it is no direction, a file is absent, damaged or another one than was
            certified, or its parts do not fit each other.
    """
    facts = read_direction_facts(folder)
    changes = read_direction_changes(folder)
    means = _tensors(folder / INPUT_MEANS)
    for name, change in changes.items():
        if name not in means or means[name].shape != change.shape[1:]:
            raise UserError(f"{folder / INPUT_MEANS} holds no mean input of {name} that fits it")
    vectors = _tensors(folder / VECTORS)
    if len({tuple(vector.shape) for vector in vectors.values()}) != 1:
        raise UserError(f"{folder / VECTORS} must hold vectors of one shape (L, D)")
    return Direction(facts["trait"], folder, changes, vectors, means, facts)


def direction_folder(results: Path, study: str, trait: str, seed: int) -> Path:
    """Where the direction of a trait lies."""
    return results / PLACE / study / trait / f"seed={seed}"


def find_direction(results: Path, study: str, trait: str, seed: int) -> Direction:
    """The direction of a trait that an analysis of a study's runs has written.

    Raises:
        UserError: If there is none, or it cannot be used; names those that there are.
    """
    folder = direction_folder(results, study, trait, seed)
    if not folder.is_dir():
        there = [
            f"{path.parent.name} {path.name}"
            for path in sorted((results / PLACE / study).glob("*/seed=*"))
        ]
        found = f"there are {', '.join(there)}" if there else MAKES
        raise UserError(
            f"{results / PLACE / study} holds no direction {trait} seed={seed}; {found}"
        )
    return read_direction(folder)


def _tensors(path: Path) -> dict[str, Tensor]:
    with opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {key} holds NaN or infinity")
    return tensors
