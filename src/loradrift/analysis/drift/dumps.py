"""What every table asks of a run's dumps: rows that fit into memory, and errors that name them."""

# Shape suffixes: N rows, K of them that are read together, D width.

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from loradrift.activations import ActivationReader, StoreError, row_sample
from loradrift.activations.pooling import SAMPLE

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


def chunks(store: ActivationReader, step: int, layer: str) -> Iterator[Tensor]:
    """The rows of one layer, a few at a time."""
    return store.read_rows(step, layer, CHUNK)


def sampled_rows(store: ActivationReader, step: int, layer: str) -> Tensor:
    """The rows that stand for all: a fixed sample of a streamed dump, every row of another."""
    if not is_streamed(store):
        return store.read(step, [layer])[layer]
    chosen, start, rows = row_sample(store.num_rows(step)), 0, []
    for chunk_KD in chunks(store, step, layer):
        inside = (chosen >= start) & (chosen < start + len(chunk_KD))
        rows.append(chunk_KD[chosen[inside] - start])
        start += len(chunk_KD)
    return torch.cat(rows)


@contextmanager
def named(store: ActivationReader, step: int, layer: str) -> Iterator[None]:
    """Say where the rows come from that a measure refuses.

    Raises:
        StoreError: Naming run, step and layer.
    """
    try:
        yield
    except ValueError as error:
        raise StoreError(f"{store.root}: step {step}, {layer}: {error}") from error
