"""Rungs of a run: its latents, those of other rows, and drawn ones."""

# Shape suffixes: N rows of the table, B rows of a batch, M latents, Z numbers of a latent.

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loradrift.data import EvaluationBatches, Share
from loradrift.tasks.base import gathered
from loradrift.tasks.reconstruction.ladder.rungs import RungRow, answer_given, vectors

if TYPE_CHECKING:
    from loradrift.tasks.reconstruction.evaluation import Reader, RowAnswer

SEED = 0
"""Draws partners and random latents: the same for all runs, so that these pair up."""


@torch.no_grad()
def own_rungs(
    reader: Reader, batches: EvaluationBatches, answers: Mapping[int, RowAnswer], share: Share
) -> dict[str, list[RungRow]]:
    """The rungs of a run's own model; each process gives its share.

    Args:
        reader: What is evaluated.
        batches: Of the reported rows.
        answers: What was answered to each of them.
        share: Of the rows.
    """
    table: Any = batches.table
    head = reader.model.head
    device = head.embedding_rms.device
    latents_NMZ = torch.stack([answers[index].latents_MZ for index in range(len(table))])
    num_latents, size = latents_NMZ.shape[1], head.sizes.num_bytes(head.width)
    found = {
        "soft_prompt": [
            RungRow(index, num_latents, size, each.text, each.f1, each.em, each.gold_loss)
            for index, each in sorted(answers.items())
        ]
    }
    given = {"random": drawn_latents(latents_NMZ, SEED)}
    partners = other_rows([row.context for row in table.rows], SEED)
    if partners is not None:
        given["swapped"] = latents_NMZ[partners]
    for name, others_NMZ in given.items():
        rows: list[RungRow] = []
        for indices in _own_batches(batches, share):
            batch = batches.collate(table, indices)
            here = {key: value.to(device) for key, value in batch.items()}
            soft_BMD = head.decode(head.grid(others_NMZ[indices].to(device)))
            rows += answer_given(reader.answerer, table, here, vectors(soft_BMD, size))
        found[name] = sorted(gathered(rows))
    return found


def _own_batches(batches: EvaluationBatches, share: Share) -> list[list[int]]:
    """This process's rows, the longest first."""
    table = batches.table
    size = max(map(len, batches.batches))
    own = range(share.rank, len(table), share.world_size)
    order = sorted(own, key=lambda index: -int(table.lengths[index]))
    return [order[first : first + size] for first in range(0, len(order), size)]


def other_rows(contexts: Sequence[str], seed: int) -> list[int] | None:
    """For each row one of another context, no row twice; None where one context has too many rows.

    >>> contexts = ["a", "a", "b", "c"]
    >>> [contexts[other] != own for other, own in zip(other_rows(contexts, 0), contexts)]
    [True, True, True, True]
    >>> other_rows(["a", "a", "b"], 0) is None
    True
    """
    draw = random.Random(seed)
    rows_of: dict[str, list[int]] = {}
    for index, context in enumerate(contexts):
        rows_of.setdefault(context, []).append(index)
    groups = list(rows_of.values())
    draw.shuffle(groups)
    # rows of one context stand together; shifted by as many as the largest group has, each group
    # lands on others, also where it goes round the end
    shift = max(map(len, groups))
    if 2 * shift > len(contexts):
        return None
    order = [index for group in groups for index in draw.sample(group, len(group))]
    others = [0] * len(contexts)
    for place, index in enumerate(order):
        others[index] = order[(place + shift) % len(order)]
    return others


def drawn_latents(latents_NMZ: Tensor, seed: int) -> Tensor:
    """Gaussian latents with the mean and the spread over rows that each number has."""
    generator = torch.Generator().manual_seed(seed)
    noise_NMZ = torch.randn(latents_NMZ.shape, generator=generator)
    spread_MZ = latents_NMZ.std(0, correction=0)
    return latents_NMZ.mean(0) + noise_NMZ * spread_MZ
