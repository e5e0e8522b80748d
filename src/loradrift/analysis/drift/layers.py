"""How far each layer has moved from the base model, at every dump of a run."""

# Shape suffixes: N probe rows, D width, L layers.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loradrift.activations import ActivationStore
from loradrift.analysis.drift.dumps import (
    is_streamed,
    named,
    ordinary_dimensions,
    sampled_rows,
)
from loradrift.analysis.drift.jackknife import cka_distance_replicates
from loradrift.analysis.drift.run_view import Run
from loradrift.analysis.drift.token_drift import token_drifts
from loradrift.similarity import MEASURES
from loradrift.similarity.functional.cosine import cosine_floor
from loradrift.similarity.functional.gram import (
    Gram,
    cka_distance_of_grams,
    cka_grid,
    linear_gram,
    linear_grams,
)


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
        ordinary = ordinary_dimensions(rows_ND)
        whole = linear_gram(rows_ND)
        return cls(
            rows_ND,
            whole,
            ordinary,
            whole if len(ordinary) == rows_ND.shape[1] else linear_gram(rows_ND[:, ordinary]),
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
    asked = ("cosine", "cosine_centered", *measures)
    extra = dict.fromkeys(name for name in asked if name not in ("cka", "cka_biased"))
    drifts = (token_drifts if is_streamed(run.store) else _whole_drifts)(run.store, extra)
    rows = [(*place, measure, drift) for *place, own in drifts for measure, drift in own.items()]
    return pd.DataFrame(rows, columns=["step", "layer", "measure", "drift"])


def _whole_drifts(
    store: ActivationStore, measures: Iterable[str]
) -> Iterator[tuple[int, int, dict[str, float]]]:
    """As :func:`~loradrift.analysis.drift.token_drift.token_drifts`, with each layer in memory."""
    base = {}
    for name, layer in read_dump(store, 0):
        with named(store, 0, name):
            base[name] = BaseLayer.of(layer)
    for step in store.steps:
        for number, (name, layer) in enumerate(read_dump(store, step)):
            with named(store, step, name):
                drifts = base[name].drift(layer)
                for each in measures:
                    drifts[each] = MEASURES[each].distance(base[name].rows_ND, layer.rows_ND)
            yield step, number, drifts


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
        massive dimensions), ``random_pair_cosine``; and ``sample_of``, the number of rows, where
        these numbers are of a sample of them.
    """
    store, other = run.store, partner.store
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for number, name in enumerate(store.layer_names):
        base_ND, rerun_ND = sampled_rows(store, 0, name), sampled_rows(other, 0, name)
        last_ND = sampled_rows(store, store.steps[-1], name)
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
    table = pd.DataFrame(rows)
    return table.assign(sample_of=store.num_rows(0)) if is_streamed(store) else table


def layer_grid(run: Run) -> pd.DataFrame:
    """Debiased CKA of each layer of the base model with each layer of the last dump.

    Returns:
        ``base_layer``, ``layer``, ``cka``.
    """
    store = run.store
    base, last = (
        linear_grams([sampled_rows(store, step, name) for name in store.layer_names])
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
        base, last = (linear_gram(sampled_rows(store, step, name)) for step in (0, store.steps[-1]))
        with named(store, store.steps[-1], name):
            replicates.append(cka_distance_replicates(base, last))
    return pd.DataFrame({"drift": np.mean(replicates, axis=0)})
