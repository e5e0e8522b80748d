"""Batches as a pure function of (rows, seed, position), so that any run can resume exactly."""

# Shape suffixes: B rows of a batch, T tokens.

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loradrift.config import UserError

Batch = dict[str, Tensor]


class Rows:
    """Rows of token ids, wherever they are kept."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """Tokens of each row."""

    num_truncated: int
    """Rows that were cut."""

    lossy: tuple[str, ...] = ()
    """Ids of examples whose target is lost on the way to tokens."""

    @property
    def counts(self) -> dict[str, int]:
        """Further numbers for the run's record."""
        return {}

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        raise NotImplementedError

    def is_text(self, index: int) -> NDArray[np.bool_]:
        """Which tokens of one row are its own text: all but those that the layout puts there."""
        raise NotImplementedError

    def columns(self, index_B: NDArray[np.int64], attention_mask_BT: Tensor) -> Batch:
        """What a batch of these rows holds beside tokens, masks, labels and numbers."""
        return {}

    def __len__(self) -> int:
        return len(self.labels)


MULTIPLE = 8
"""Padding goes to a multiple of this: the width that matrix units like."""

POOL = 50
"""Batches sorted by length together; more would order the epoch by length."""


@dataclass(frozen=True)
class Collator:
    """Pads rows on the right and says which tokens are the row's own.

    Args:
        pad_id: Fills the right; never attended to, because attention is causal.
        fixed_length: Pad to this many tokens instead of the batch's longest row.
        multiple: Pad to a multiple of this; 1 on a CPU, which gains nothing from more.
    """

    pad_id: int
    fixed_length: int | None = None
    multiple: int = MULTIPLE

    def __call__(self, table: Rows, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Rows of ``table`` as one batch.

        Returns:
            ``input_ids``, ``attention_mask`` and ``content_mask`` (the row's own text), each
            (B, T); ``labels`` and ``index`` (row number in the table), each (B,); and the table's
            own columns.
        """
        rows = [table.row(int(i)) for i in indices]
        longest = self.fixed_length or max(len(row) for row in rows)
        width = -(-longest // self.multiple) * self.multiple
        ids_BT = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        mask_BT = np.zeros((len(rows), width), dtype=np.bool_)
        content_BT = np.zeros_like(mask_BT)
        for number, (index, row) in enumerate(zip(indices, rows, strict=True)):
            ids_BT[number, : len(row)] = row
            mask_BT[number, : len(row)] = True
            content_BT[number, : len(row)] = table.is_text(int(index))
        index_B = np.asarray(indices, dtype=np.int64)
        attention_mask_BT = torch.from_numpy(mask_BT)
        return {
            "input_ids": torch.from_numpy(ids_BT),
            "attention_mask": attention_mask_BT,
            "content_mask": torch.from_numpy(content_BT),
            "labels": torch.from_numpy(table.labels[index_B]),
            "index": torch.from_numpy(index_B),
            **table.columns(index_B, attention_mask_BT),
        }


@dataclass(frozen=True)
class Share:
    """Which part of every batch belongs to this process."""

    rank: int = 0
    world_size: int = 1


ALONE = Share()
"""The only process there is."""


@dataclass(eq=False)
class TrainBatches:
    """All micro-batches of a run, in an order that only seed and sizes decide.

    Each epoch is a new permutation; rows of similar length are batched together, and rows that
    do not fill a batch wait for the next epoch's permutation.
    """

    table: Rows
    collate: Collator
    _: KW_ONLY
    batch_size: int
    """Rows per process; a global batch has ``batch_size * world_size``."""

    num_batches: int
    """Length of the whole run in micro-batches, across epochs."""

    seed: int
    share: Share = ALONE
    group_by_length: bool = True
    """Turn off to measure what grouping saves."""

    start: int = 0
    """Micro-batches already seen by an earlier process; set it before iterating."""

    def __post_init__(self) -> None:
        self.global_size = self.batch_size * self.share.world_size
        if self.per_epoch == 0:
            raise UserError(
                f"task.batch_size x trainer.devices must be at most the {len(self.table)} "
                f"training rows, got {self.global_size}"
            )

    @property
    def per_epoch(self) -> int:
        """Global batches in one pass over the rows."""
        return len(self.table) // self.global_size

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        first_epoch, skipped = divmod(self.start, self.per_epoch)
        epochs = (self.epoch(number) for number in itertools.count(first_epoch))
        order = itertools.chain.from_iterable(epochs)
        for indices in itertools.islice(order, skipped, skipped + self.num_batches - self.start):
            yield self.collate(self.table, indices[self.share.rank :: self.share.world_size])

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """Row indices of each global batch of one epoch."""
        draw = np.random.default_rng([self.seed, number])
        order = draw.permutation(len(self.table))[: self.per_epoch * self.global_size]
        if self.group_by_length:
            pool = POOL * self.global_size
            lengths = self.table.lengths
            parts = np.split(order, range(pool, len(order), pool))
            parts = [part[np.argsort(-lengths[part], kind="stable")] for part in parts]
            order = np.concatenate(parts)
        batches = np.split(order, self.per_epoch)
        return [batches[i] for i in draw.permutation(len(batches))]


class EvaluationBatches:
    """Every row once, sorted by length so that little is padded; batches dealt out to processes.

    Each process gets equally many: where a model is sharded, they compute every batch together.
    """

    def __init__(
        self, table: Rows, collate: Collator, *, batch_size: int, share: Share = ALONE
    ) -> None:
        self.table = table
        self.collate = collate
        order = np.argsort(-table.lengths, kind="stable")
        world_size, num_batches = share.world_size, math.ceil(len(order) / batch_size)
        if world_size == 1:
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        else:
            rounds = min(math.ceil(num_batches / world_size), len(order) // world_size)
            batches = np.array_split(order, max(1, rounds) * world_size)
        self.batches = batches[share.rank :: world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return (self.collate(self.table, indices) for indices in self.batches)
