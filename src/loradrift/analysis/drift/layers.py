"""How far each layer has moved from the base model, at every dump of a run."""

# Shape suffixes: N probe rows, D width, L layers.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loradrift.activations import ActivationStore, StoreError
from loradrift.analysis.drift.jackknife import cka_distance_replicates
from loradrift.analysis.drift.run_view import Run
from loradrift.similarity import MEASURES
from loradrift.similarity.functional.cosine import cosine_floor
from loradrift.similarity.functional.gram import (
    Gram,
    cka_distance_of_grams,
    cka_grid,
    linear_gram,
    linear_grams,
)

MASSIVE = 10.0
"""A dimension whose root mean square is this many times the layer's median one is massive: it
alone can decide a similarity (Sun et al. 2024, arXiv:2402.17762; Timkey & van Schijndel 2021)."""


class DumpedLayer(NamedTuple):
    """One layer of one dump."""

    rows_ND: Tensor
    with_bos_ND: Tensor | None
    """The same with the beginning-of-sequence token pooled in; None if the dump lacks it."""


@dataclass(frozen=True)
class BaseLayer:
    """What is needed of a layer of the base model again and again."""

    rows_ND: Tensor
    whole: Gram
    ordinary: Tensor
    """Indices of the dimensions that are not massive."""

    ordinary_gram: Gram
    with_bos: Gram | None

    @classmethod
    def of(cls, layer: DumpedLayer) -> "BaseLayer":
        """Cache one layer's activations of step 0."""
        rows_ND, with_bos_ND = layer
        size_D = rows_ND.float().square().mean(0).sqrt()
        ordinary = (size_D <= MASSIVE * size_D.median()).nonzero().flatten()
        whole = linear_gram(rows_ND)
        return cls(
            rows_ND,
            whole,
            ordinary,
            whole if len(ordinary) == len(size_D) else linear_gram(rows_ND[:, ordinary]),
            None if with_bos_ND is None else linear_gram(with_bos_ND),
        )

    def drift(self, layer: DumpedLayer) -> dict[str, float]:
        """``1 - cka`` in four forms, from one symmetric product.

        It takes one more if there are massive dimensions, and one more with the
        beginning-of-sequence token.
        """
        rows_ND, with_bos_ND = layer
        whole = cka_distance_of_grams(self.whole, linear_gram(rows_ND))
        ordinary = whole
        if len(self.ordinary) < rows_ND.shape[1]:
            ordinary = cka_distance_of_grams(
                self.ordinary_gram, linear_gram(rows_ND[:, self.ordinary])
            )
        drifts = {
            "cka": whole.debiased,
            "cka_biased": whole.biased,
            "cka_without_massive": ordinary.debiased,
        }
        if self.with_bos is not None and with_bos_ND is not None:
            with_bos = cka_distance_of_grams(self.with_bos, linear_gram(with_bos_ND))
            drifts["cka_with_bos"] = with_bos.debiased
        return drifts


def pooled_with_bos(mean_ND: Tensor, num_tokens_N: Tensor, bos_D: Tensor) -> Tensor:
    """Mean-pooled rows as they would be, had the beginning-of-sequence token been pooled too.

    Args:
        mean_ND: Each row the mean of its own tokens.
        num_tokens_N: How many these were.
        bos_D: The token's activation; attention is causal, so all rows have the same.

    Returns:
        float32 (N, D).
    """
    counts_N1 = num_tokens_N.double()[:, None]
    return ((counts_N1 * mean_ND.double() + bos_D.double()) / (counts_N1 + 1)).float()


def read_dump(store: ActivationStore, step: int) -> Iterator[tuple[str, DumpedLayer]]:
    """Each layer of a dump by name, one at a time.

    Raises:
        StoreError: If the dump is damaged; names it.
    """
    store.verify(step)
    bos_LD, num_tokens = store.read_bos(step), store.manifest["probe"].get("num_tokens")
    for number, name in enumerate(store.layer_names):
        rows_ND = store.read(step, [name])[name]
        with_bos_ND = None
        if bos_LD is not None and num_tokens is not None:
            with_bos_ND = pooled_with_bos(rows_ND, torch.tensor(num_tokens), bos_LD[number])
        yield name, DumpedLayer(rows_ND, with_bos_ND)


@contextmanager
def _named(store: ActivationStore, step: int, layer: str) -> Iterator[None]:
    """Say where the rows come from that a measure refuses.

    Raises:
        StoreError: Naming run, step and layer.
    """
    try:
        yield
    except ValueError as error:
        raise StoreError(f"{store.root}: step {step}, {layer}: {error}") from error


def run_drift(run: Run, measures: Sequence[str]) -> pd.DataFrame:
    """Drift of every layer at every dump.

    Args:
        run: A finished run.
        measures: More names of :data:`~loradrift.similarity.MEASURES`; ``cka``, ``cka_biased``,
            ``cka_without_massive``, ``cosine`` and ``cosine_centered`` are always there, and
            ``cka_with_bos`` where the dumps hold the beginning-of-sequence token.

    Returns:
        ``step``, ``layer`` (its number), ``measure``, ``drift``.

    Raises:
        StoreError: If a dump is damaged, or holds what has no drift; names it.
    """
    store = run.store
    base = {}
    for name, layer in read_dump(store, 0):
        with _named(store, 0, name):
            base[name] = BaseLayer.of(layer)
    asked = ("cosine", "cosine_centered", *measures)
    extra = dict.fromkeys(name for name in asked if name not in ("cka", "cka_biased"))

    def rows() -> Iterator[tuple[int, int, str, float]]:
        for step in store.steps:
            for number, (name, layer) in enumerate(read_dump(store, step)):
                with _named(store, step, name):
                    drifts = base[name].drift(layer)
                    for each in extra:
                        drifts[each] = MEASURES[each].distance(base[name].rows_ND, layer.rows_ND)
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
        layer = BaseLayer.of(DumpedLayer(base_ND, None))

        def distance(x_ND: Tensor, base: Gram = layer.whole) -> float:
            return cka_distance_of_grams(base, linear_gram(x_ND)).debiased

        rows.append(
            {
                "layer": number,
                "floor": distance(rerun_ND[order].bfloat16(), linear_gram(base_ND[order])),
                "rerun": distance(rerun_ND),
                "shuffled": distance(last_ND[order]),
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
    base, last = (linear_grams(list(store.read(step).values())) for step in (0, store.steps[-1]))
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
        base, last = (linear_gram(store.read(step, [name])[name]) for step in (0, store.steps[-1]))
        with _named(store, store.steps[-1], name):
            replicates.append(cka_distance_replicates(base, last))
    return pd.DataFrame({"drift": np.mean(replicates, axis=0)})
