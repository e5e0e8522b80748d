"""How far each layer has moved from the base model, at every dump of a run."""

# Shape suffixes: N probe rows, D width.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loradrift.activations import ActivationStore
from loradrift.analysis.pairing import Run
from loradrift.analysis.statistics.jackknife import cka_distance_replicates
from loradrift.similarity import MEASURES
from loradrift.similarity.functional.cka import (
    Gram,
    Hsic,
    cka_distance_of_grams,
    cka_grid,
    hsic,
    linear_gram,
    linear_grams,
)
from loradrift.similarity.functional.cosine import cosine_floor
from loradrift.similarity.functional.inputs import matrix

MASSIVE = 10.0
"""A dimension whose root mean square is this many times the layer's median one is massive: it
alone can decide a similarity (Sun et al. 2024, arXiv:2402.17762; Timkey & van Schijndel 2021)."""


@dataclass(frozen=True)
class BaseLayer:
    """What is needed of a layer of the base model again and again."""

    rows_ND: Tensor
    gram: Gram
    own: Hsic
    ordinary: Tensor
    """Indices of the dimensions that are not massive."""

    ordinary_gram: Gram
    ordinary_own: Hsic

    @classmethod
    def of(cls, rows_ND: Tensor) -> "BaseLayer":
        """Cache one layer's activations of step 0."""
        size_D = rows_ND.float().square().mean(0).sqrt()
        ordinary = (size_D <= MASSIVE * size_D.median()).nonzero().flatten()
        gram = linear_gram(matrix(rows_ND))
        if len(ordinary) == len(size_D):
            return cls(rows_ND, gram, hsic(gram, gram), ordinary, gram, hsic(gram, gram))
        reduced = linear_gram(matrix(rows_ND[:, ordinary]))
        return cls(rows_ND, gram, hsic(gram, gram), ordinary, reduced, hsic(reduced, reduced))

    def drift(self, rows_ND: Tensor) -> dict[str, float]:
        """``1 - cka`` in three forms, from one symmetric product (two with massive dimensions)."""
        gram = linear_gram(matrix(rows_ND))
        own = hsic(gram, gram)
        distance = cka_distance_of_grams(self.gram, gram, self.own, own)
        drifts = {"cka": distance.debiased, "cka_biased": distance.biased}
        if len(self.ordinary) < rows_ND.shape[1]:
            gram = linear_gram(matrix(rows_ND[:, self.ordinary]))
            own = hsic(gram, gram)
            distance = cka_distance_of_grams(self.ordinary_gram, gram, self.ordinary_own, own)
        return drifts | {"cka_without_massive": distance.debiased}


def base_layers(store: ActivationStore) -> dict[str, BaseLayer]:
    """The base model's layers: step 0 of a run."""
    store.verify(0)
    return {name: BaseLayer.of(rows_ND) for name, rows_ND in store.read(0).items()}


def run_drift(run: Run, measures: Sequence[str]) -> pd.DataFrame:
    """Drift of every layer at every dump.

    Args:
        run: A finished run.
        measures: More names of :data:`~loradrift.similarity.MEASURES`; ``cka``, ``cka_biased``,
            ``cka_without_massive`` and ``cosine`` are always there.

    Returns:
        ``step``, ``layer`` (its number), ``measure``, ``drift``.

    Raises:
        StoreError: If a dump is damaged; names it.
    """
    store = run.store
    base = base_layers(store)
    extra = [name for name in ("cosine", *measures) if name not in ("cka", "cka_biased")]

    def rows() -> Iterator[tuple[int, int, str, float]]:
        for step in store.steps:
            store.verify(step)
            for number, name in enumerate(store.layer_names):
                rows_ND = store.read(step, [name])[name]
                drifts = base[name].drift(rows_ND)
                for measure in dict.fromkeys(extra):
                    drifts[measure] = MEASURES[measure].distance(base[name].rows_ND, rows_ND)
                for measure, drift in drifts.items():
                    yield step, number, measure, drift

    return pd.DataFrame(rows(), columns=["step", "layer", "measure", "drift"])


def controls(run: Run, partner: Run, seed: int) -> pd.DataFrame:
    """What the instrument shows where nothing moved, and where nothing is left.

    Args:
        run: A finished run.
        partner: The other method's run: its step 0 is the same model, run in another process.
        seed: Draws the order of the probe.

    Returns:
        For each ``layer``: ``floor`` (the base model against itself: the partner's dump, in another
        order and in bfloat16), ``rerun`` (the partner's dump alone), ``shuffled`` (the last dump
        with its rows in a wrong order; 1 if the instrument is right), ``massive`` (number of
        massive dimensions), ``random_pair_cosine``.
    """
    store, other = run.store, partner.store
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, name in enumerate(store.layer_names):
        base_ND, rerun_ND = store.read(0, [name])[name], other.read(0, [name])[name]
        last_ND = store.read(store.steps[-1], [name])[name]
        order = torch.randperm(len(base_ND), generator=generator)
        cka = MEASURES["cka"]
        layer = BaseLayer.of(base_ND)
        rows.append(
            {
                "layer": number,
                "floor": cka.distance(base_ND[order], rerun_ND[order].bfloat16()),
                "rerun": cka.distance(base_ND, rerun_ND),
                "shuffled": cka.distance(base_ND, last_ND[order]),
                "massive": base_ND.shape[1] - len(layer.ordinary),
                "random_pair_cosine": cosine_floor(base_ND, last_ND),
            }
        )
    return pd.DataFrame(rows)


def layer_grid(run: Run) -> pd.DataFrame:
    """Debiased CKA of each layer of the base model with each layer of the last dump.

    Returns:
        ``base_layer``, ``layer``, ``cka``.
    """
    store = run.store
    base, last = (
        linear_grams([matrix(rows) for rows in store.read(step).values()])
        for step in (0, store.steps[-1])
    )
    grid = cka_grid(base, last)
    return pd.DataFrame(
        [(i, j, grid[i, j]) for i in range(len(base)) for j in range(len(last))],
        columns=["base_layer", "layer", "cka"],
    )


def mean_drift_replicates(run: Run) -> pd.DataFrame:
    """The mean drift over layers at the last dump, without each probe row in turn.

    Returns:
        ``drift``, one row for each row left out.
    """
    store = run.store
    replicates = []
    for name in store.layer_names:
        base, last = (
            linear_gram(matrix(store.read(step, [name])[name])) for step in (0, store.steps[-1])
        )
        replicates.append(cka_distance_replicates(base, last))
    return pd.DataFrame({"drift": np.mean(replicates, axis=0)})
