"""What is read of a dump, and the drift of dumps with more token rows than fit into memory.

Both dumps are read side by side, a few rows at a time. Linear CKA, cosine, Procrustes, SVCCA and
PWCCA need sums over rows and are exact for all of them. ``cka_rbf``, ``knn`` and ``rsa`` need every
pair of rows: they are measured on a fixed sample of the rows.
"""

# Shape suffixes: N rows, K of them that are read together, D width.

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from loradrift.activations import ActivationReader, StoreError, row_sample
from loradrift.activations.pooling import SAMPLE
from loradrift.similarity import MEASURES
from loradrift.similarity.functional.sufficient_stats import SufficientStats

MASSIVE = 10.0
"""A dimension whose root mean square is this many times the layer's median one is massive: it
alone can decide a similarity (Sun et al. 2024, arXiv:2402.17762; Timkey & van Schijndel 2021)."""

CHUNK = 1024
"""Rows of a large dump that are in memory together."""


def ordinary_dimensions(rows_ND: Tensor) -> Tensor:
    """Indices of the dimensions that are not massive."""
    size_D = rows_ND.float().square().mean(0).sqrt()
    return (size_D <= MASSIVE * size_D.median()).nonzero().flatten()


def is_streamed(store: ActivationReader) -> bool:
    """Whether the dumps have more token rows than a sample, and are read a few rows at a time."""
    return store.manifest["pooling"].startswith("tokens") and store.num_rows(0) > SAMPLE


def sampled_rows(store: ActivationReader, step: int, layer: str) -> Tensor:
    """The rows that stand for all: a fixed sample of a streamed dump, every row of another."""
    if not is_streamed(store):
        return store.read(step, [layer])[layer]
    chosen, start, rows = row_sample(store.num_rows(step)), 0, []
    for chunk_KD in store.read_rows(step, layer, CHUNK):
        inside = (chosen >= start) & (chosen < start + len(chunk_KD))
        rows.append(chunk_KD[chosen[inside] - start])
        start += len(chunk_KD)
    return torch.cat(rows)


@contextmanager
def named(store: ActivationReader, step: int, layer: str) -> Iterator[None]:
    """Turn a measure's ValueError into a StoreError that names run, step and layer."""
    try:
        yield
    except ValueError as error:
        raise StoreError(f"{store.root}: step {step}, {layer}: {error}") from error


def token_drifts(
    store: ActivationReader, measures: Iterable[str]
) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Step, number of the layer, and drift by measure: of every layer at every dump.

    Three forms of CKA are measured beside ``measures``.

    Raises:
        StoreError: If a dump is damaged, or holds what has no drift; names it.
    """
    for step in store.steps:
        store.verify(step)
        for number, layer in enumerate(store.layer_names):
            with named(store, step, layer):
                yield step, number, _drift(store, step, layer, measures)


def _drift(
    store: ActivationReader, step: int, layer: str, measures: Iterable[str]
) -> dict[str, float]:
    # here, because torchmetrics imports transformers: seconds, which no other table needs
    from loradrift.similarity.metrics import CKA, METRICS, CKABiased, Cosine
    from loradrift.similarity.streaming import SummedRows

    samples = [sampled_rows(store, each, layer) for each in (0, step)]
    width = samples[0].shape[1]
    ordinary = ordinary_dimensions(samples[0])
    whole, without_massive, cosine = CKA(width, width), CKA(len(ordinary), len(ordinary)), Cosine()
    for x_KD, y_KD in _pairs(store, step, layer):
        whole.update(x_KD, y_KD)
        if len(ordinary) < width:
            without_massive.update(x_KD[:, ordinary], y_KD[:, ordinary])
        cosine.update(x_KD, y_KD)
    total = whole.total()
    of_ordinary = without_massive.total() if len(ordinary) < width else total
    drifts = {
        "cka": 1 - CKA.of_moments(total),
        "cka_biased": 1 - CKABiased.of_moments(total),
        "cka_without_massive": 1 - CKA.of_moments(of_ordinary),
    }
    for name in measures:
        kind = METRICS.get(name)
        if name == "cosine":
            drifts[name] = 1 - float(cosine.compute())
        elif name == "cosine_centered":
            drifts[name] = 1 - _cosine_centered(store, step, layer, total)
        elif kind is not None and issubclass(kind, SummedRows):
            value = kind.of_moments(total)
            drifts[name] = 1 - value if MEASURES[name].identical else value
        else:
            drifts[name] = MEASURES[name].distance(*samples)
    return drifts


def _cosine_centered(
    store: ActivationReader, step: int, layer: str, total: SufficientStats
) -> float:
    """The cosine after the column means, which the sums tell, are taken away."""
    from loradrift.similarity.metrics import Cosine

    means = (total.shift_x + total.xy.x / total.xy.n, total.shift_y + total.xy.y / total.xy.n)
    x_D, y_D = map(torch.from_numpy, means)
    cosine = Cosine()
    for x_KD, y_KD in _pairs(store, step, layer):
        cosine.update(x_KD - x_D, y_KD - y_D)
    return float(cosine.compute())


def _pairs(store: ActivationReader, step: int, layer: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of step 0 with the same rows of another step, in float64."""
    both = (store.read_rows(each, layer, CHUNK) for each in (0, step))
    for x_KD, y_KD in zip(*both, strict=True):
        yield x_KD.double(), y_KD.double()
