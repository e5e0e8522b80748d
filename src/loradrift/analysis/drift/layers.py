"""How far each layer has moved from the base model, at every dump of a run."""

# Shape suffixes: N probe rows, D width, L layers.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from loradrift.activations import ActivationStore
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.jackknife import cka_distance_replicates
from loradrift.analysis.drift.token_drift import (
    is_streamed,
    named,
    ordinary_dimensions,
    sampled_rows,
    token_drifts,
)
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

    def grams(self, ordinary: Tensor) -> dict[str, Gram]:
        """What each form of CKA compares; without massive dimensions only where there are any."""
        grams = {"cka": linear_gram(self.rows_ND)}
        if len(ordinary) < self.rows_ND.shape[1]:
            grams["cka_without_massive"] = linear_gram(self.rows_ND[:, ordinary])
        if self.with_bos_ND is not None:
            grams["cka_with_bos"] = linear_gram(self.with_bos_ND)
        return grams


def cka_drifts(base: Mapping[str, Gram], tuned: Mapping[str, Gram]) -> dict[str, float]:
    """``1 - cka`` in every form that both sides have."""
    debiased, biased = cka_distance_of_grams(base["cka"], tuned["cka"])
    drifts = {"cka": debiased, "cka_biased": biased, "cka_without_massive": debiased}
    for form in ("cka_without_massive", "cka_with_bos"):
        if form in base and form in tuned:
            drifts[form] = cka_distance_of_grams(base[form], tuned[form]).debiased
    return drifts


def pooled_with_bos(mean_ND: Tensor, num_tokens_N: Tensor, bos_D: Tensor) -> Tensor:
    """Mean-pooled rows as they would be, had the beginning-of-sequence token been pooled too.

    Each row is the mean of ``num_tokens_N``; attention is causal, so all have the same ``bos_D``.
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
    """Drift of every layer at every dump: ``step``, ``layer`` (its number), ``measure``, ``drift``.

    Beside ``measures``, ``cka``, ``cka_biased``, ``cka_without_massive``, ``cosine`` and
    ``cosine_centered`` are always there, and ``cka_with_bos`` where the dumps hold the
    beginning-of-sequence token.

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
    """The values of :func:`~loradrift.analysis.drift.token_drift.token_drifts`, of whole layers."""
    base = {}
    for name, layer in read_dump(store, 0):
        ordinary = ordinary_dimensions(layer.rows_ND)
        with named(store, 0, name):
            base[name] = layer.rows_ND, ordinary, layer.grams(ordinary)
    for step in store.steps:
        for number, (name, layer) in enumerate(read_dump(store, step)):
            base_ND, ordinary, grams = base[name]
            with named(store, step, name):
                drifts = cka_drifts(grams, layer.grams(ordinary))
                for each in measures:
                    drifts[each] = MEASURES[each].distance(base_ND, layer.rows_ND)
            yield step, number, drifts


def controls(run: Run, partner: Run, seed: int, step: int | None = None) -> pd.DataFrame:
    """What the instrument shows where nothing moved, and where nothing is left.

    Step 0 of the ``partner``, the other method's run, is the same model in another process;
    ``seed`` draws the order of the probe; ``step`` is the dump that is shuffled, by default the
    last.

    Returns:
        For each ``layer``: ``floor`` (the base model against itself: the partner's dump, in another
        order and in bfloat16), ``rerun`` (the partner's dump alone), ``shuffled`` (the dump
        with its rows in a wrong order; 1 if the instrument is right), ``massive`` (number of
        massive dimensions), ``random_pair_cosine``; and ``sample_of``, the number of rows, where
        these numbers are of a sample of them.
    """
    store, step = run.store, _step(run, step)
    generator = torch.Generator().manual_seed(seed)
    rows: list[dict[str, float]] = []
    for number, name in enumerate(store.layer_names):
        base_ND, rerun_ND = (sampled_rows(each, 0, name) for each in (store, partner.store))
        last_ND = sampled_rows(store, step, name)
        order = torch.randperm(len(base_ND), generator=generator)
        base = linear_gram(base_ND)
        compared = {
            "floor": (linear_gram(base_ND[order]), rerun_ND[order].bfloat16()),
            "rerun": (base, rerun_ND),
            "shuffled": (base, last_ND[order]),
        }
        row: dict[str, float] = {"layer": number}
        for control, (gram, x_ND) in compared.items():
            row[control] = cka_distance_of_grams(gram, linear_gram(x_ND)).debiased
        row["massive"] = base_ND.shape[1] - len(ordinary_dimensions(base_ND))
        row["random_pair_cosine"] = cosine_floor(base_ND, last_ND)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(sample_of=store.num_rows(0)) if is_streamed(store) else table


def _step(run: Run, step: int | None) -> int:
    return run.store.steps[-1] if step is None else step


def layer_grid(run: Run, step: int | None = None) -> pd.DataFrame:
    """``cka`` (debiased) of each ``base_layer`` with each ``layer`` of a dump, the last one."""
    store = run.store
    base, last = (
        linear_grams([sampled_rows(store, each, name) for name in store.layer_names])
        for each in (0, _step(run, step))
    )
    cells = [(*place, cka) for place, cka in np.ndenumerate(cka_grid(base, last))]
    return pd.DataFrame(cells, columns=["base_layer", "layer", "cka"])


def mean_drift_replicates(run: Run, step: int | None = None) -> pd.DataFrame:
    """The mean ``drift`` over layers at a dump, the last one, without each probe row in turn."""
    store, step = run.store, _step(run, step)
    replicates = []
    for name in store.layer_names:
        base, last = (linear_gram(sampled_rows(store, each, name)) for each in (0, step))
        with named(store, step, name):
            replicates.append(cka_distance_replicates(base, last))
    return pd.DataFrame({"drift": np.mean(replicates, axis=0)})
