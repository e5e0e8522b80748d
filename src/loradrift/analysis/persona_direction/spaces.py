"""Weight space against activation space: does the adapter move states along the vectors?"""

from collections.abc import Mapping
from statistics import fmean

import pandas as pd
import torch
from torch import Tensor

from loradrift.models import Backbone
from loradrift.models.merging import merged
from loradrift.steering.vectors import KINDS, Answered, observe
from loradrift.weights import LowRank, random_like

COEFFICIENTS = (0.25, 1.0)
"""Doses of the weight direction: one in the range of steering, and the whole difference."""

MOST_ROWS = 16
"""Rows that each dose is run on."""

NUM_DRAWS = 4
"""Random changes that are the control: states move along few directions whatever moves them."""


def relation_of_spaces(
    backbone: Backbone,
    changes: Mapping[str, LowRank],
    vectors: Mapping[str, Tensor],
    *,
    rows: list[Answered],
    special: list[int],
    generator: torch.Generator,
) -> pd.DataFrame:
    """The cosine between each vector and the mean change of state that the direction causes.

    Both are taken over the same kind of tokens: the answer's, the prompt's, its last one. The
    control is the mean |cosine| of random changes of weights of the same norm and rank in every
    module.

    Args:
        backbone: The base model.
        changes: The weight direction.
        vectors: (L, D) by kind.
        rows: The answers of both sides after their questions alone; the first
            :data:`MOST_ROWS` are run.
        special: Tokens that no average counts.
        generator: Draws the control.

    Returns:
        One row per layer, kind and coefficient: ``cosine``, ``cosine_random``, and the norms of the
        change of state, of the random ones' (their mean), and of the vector.
    """
    rows = rows[:MOST_ROWS]
    before = observe(backbone, rows, special=special)
    randoms = [
        {name: random_like(change, generator) for name, change in changes.items()}
        for _ in range(NUM_DRAWS)
    ]
    table = []
    for coefficient in COEFFICIENTS:
        moved = []
        for direction in (changes, *randoms):
            with merged(backbone, direction, coefficient):
                moved.append(observe(backbone, rows, special=special).states)
        for kind in KINDS:
            change_LD, *controls = (each[kind] - before.states[kind] for each in moved)
            vector_LD = vectors[kind].double()
            for layer, vector_D in enumerate(vector_LD):
                drawn = [abs(_cosine(control_LD[layer], vector_D)) for control_LD in controls]
                sizes = [float(control_LD[layer].norm()) for control_LD in controls]
                table.append(
                    {
                        "layer": layer,
                        "vector": kind,
                        "coefficient": coefficient,
                        "cosine": _cosine(change_LD[layer], vector_D),
                        "cosine_random": fmean(drawn),
                        "change_norm": float(change_LD[layer].norm()),
                        "change_norm_random": fmean(sizes),
                        "vector_norm": float(vector_D.norm()),
                    }
                )
    return pd.DataFrame(table)


def _cosine(x_D: Tensor, y_D: Tensor) -> float:
    return float(x_D @ y_D / (x_D.norm() * y_D.norm()))
