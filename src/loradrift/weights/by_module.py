"""Changes of a whole model, by the names of its modules: differences, and projections.

A change is projected onto a direction L as ``<dW, L> / |L|``: per module, per layer, and over the
whole model, whose inner products and squared norms are the sums of those of its modules.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

from torch import Tensor

from loradrift.config import UserError
from loradrift.weights.delta import AnyChange, Dense, read_change
from loradrift.weights.low_rank import LowRank, inner, norm, singular_values

Changes = Mapping[str, AnyChange]
"""A module's name -> what changed its weight."""

LAYER = re.compile(r"(?:^|\.)(\d+)\.")
"""The first number in a module's name. Modules without one (``lm_head``) belong to no layer; a
classifier neither uses nor trains them."""


def layer_of(module: str) -> int | None:
    """Find the number of the layer that a module is in; None for those in no layer.

    Example:
        >>> layer_of("model.layers.12.mlp.up_proj"), layer_of("lm_head")
        (12, None)
    """
    found = LAYER.search(module)
    return int(found[1]) if found else None


def difference(
    positive: Mapping[str, LowRank], negative: Mapping[str, LowRank]
) -> dict[str, LowRank]:
    """The exact difference of two adapters of one base model, module by module.

    Raises:
        UserError: If they change other modules, or modules of other shapes; names them.

    Example:
        >>> import torch
        >>> one = {"q_proj": LowRank(torch.ones(2, 1), torch.ones(1, 3), scale=2)}
        >>> difference(one, one)["q_proj"].rank
        2
    """
    for here, there, sides in (
        (positive, negative, ("positive", "negative")),
        (negative, positive, ("negative", "positive")),
    ):
        if lost := sorted(here.keys() - there.keys()):
            some = lost[0] if len(lost) == 1 else f"{lost[0]} and {len(lost) - 1} more"
            raise UserError(
                f"the {sides[0]} adapter changes {some}, and the {sides[1]} one does not: a "
                "difference needs two adapters of the same modules"
            )
    for module, change in positive.items():
        other = negative[module].shape
        if change.shape != other:
            shapes = f"{tuple(change.shape)} in the positive adapter and {tuple(other)}"
            raise UserError(
                f"{module} has shape {shapes} in the negative one: these are adapters of different "
                "base models"
            )
    return {module: change - negative[module] for module, change in positive.items()}


class Along(NamedTuple):
    """A change dW along a direction L: what adds up over modules."""

    product: float
    """``<dW, L>``."""

    size: float
    """``|dW|``."""

    length: float
    """``|L|``."""

    @property
    def projection(self) -> float:
        """``<dW, L> / |L|``; NaN for a direction of zeros."""
        return self.product / self.length if self.length else math.nan

    @property
    def cosine(self) -> float:
        """In [-1, 1]; NaN if the change or the direction is zero."""
        both = self.size * self.length
        return self.product / both if both else math.nan


class Projections(NamedTuple):
    """A change along a direction: per module, per layer, and of the whole model."""

    modules: dict[str, Along]
    layers: dict[int, Along]
    """Modules that are in no layer are in :attr:`total` alone."""

    total: Along


def project(changes: Changes, onto: Changes) -> Projections:
    """Project changes of a model onto a direction; each may be factored, dense, or read lazily.

    A module that one of them does not change is a change of zeros there. What a full fine-tuning
    changed is read in pieces, so that no dense matrix is ever whole in memory if the direction is
    factored.

    Raises:
        UserError: If they have no module in common, or one of another shape.

    Example:
        >>> import torch
        >>> found = project({"a": torch.eye(2)}, onto={"a": 2 * torch.eye(2)})
        >>> round(found.total.projection, 6), round(found.total.cosine, 6)
        (1.414214, 1.0)
    """
    _check_names(changes, onto)
    modules = {
        name: _along(changes.get(name), onto.get(name)) for name in dict.fromkeys([*onto, *changes])
    }
    by_layer: dict[int, list[Along]] = defaultdict(list)
    for name, each in modules.items():
        if (layer := layer_of(name)) is not None:
            by_layer[layer].append(each)
    layers = {layer: _sum(by_layer[layer]) for layer in sorted(by_layer)}
    return Projections(modules, layers, _sum(modules.values()))


def _check_names(changes: Changes, onto: Changes) -> None:
    common = changes.keys() & onto.keys()
    if not common:
        names = [next(iter(each), "nothing") for each in (changes, onto)]
        raise UserError(
            "the change and the direction have no module in common: the one changes "
            f"{names[0]}, the other {names[1]}"
        )
    for name in common:
        shapes = tuple(changes[name].shape), tuple(onto[name].shape)
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{name} has shape {shapes[0]} in the change and {shapes[1]} in the direction: "
                "they are of different base models"
            )


def _along(change: AnyChange | None, onto: AnyChange | None) -> Along:
    if change is None:
        return Along(0.0, 0.0, _norm(onto))
    if onto is None:
        return Along(0.0, _norm(change), 0.0)
    if isinstance(change, Dense) and isinstance(onto, LowRank):
        product = squares = 0.0
        for rows, columns, part in change.parts():
            own = LowRank(onto.B_OR[rows], onto.A_RI[:, columns], onto.scale)
            product += inner(part, own)
            squares += float(part.square_().sum())
        return Along(product, math.sqrt(squares), norm(onto))
    one, other = read_change(change), read_change(onto)
    return Along(inner(one, other), norm(one), norm(other))


def _norm(change: AnyChange | None) -> float:
    if isinstance(change, Dense):
        return math.sqrt(sum(float(part.square_().sum()) for _, _, part in change.parts()))
    return 0.0 if change is None else norm(read_change(change))


def _sum(parts: Iterable[Along]) -> Along:
    products, sizes, lengths = zip(*parts, strict=True)
    return Along(sum(products), math.hypot(*sizes), math.hypot(*lengths))


def total_norm(changes: Changes) -> float:
    """Frobenius norm of the changes of a whole model.

    Example:
        >>> import torch
        >>> total_norm({"a": 3 * torch.ones(1, 1), "b": 4 * torch.ones(1, 1)})
        5.0
    """
    return math.hypot(*map(_norm, changes.values()))


def interference(directions: Mapping[str, Changes]) -> dict[tuple[str, str], Projections]:
    """Every pair of directions, the first along the second: of interest are the cosines.

    Example:
        >>> import torch
        >>> found = interference({"x": {"m": torch.eye(2)}, "y": {"m": -torch.eye(2)}})
        >>> {pair: round(each.total.cosine, 6) for pair, each in found.items()}
        {('x', 'y'): -1.0}
    """
    pairs = combinations(directions, 2)
    return {(x, y): project(directions[x], directions[y]) for x, y in pairs}


def spectra(changes: Changes) -> dict[str, Tensor]:
    """The singular values of each module's change, largest first.

    Example:
        >>> import torch
        >>> spectra({"m": torch.diag(torch.tensor([3.0, 4.0]))})["m"].tolist()
        [4.0, 3.0]
    """
    return {name: singular_values(read_change(change)) for name, change in changes.items()}
