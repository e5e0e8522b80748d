"""What may stand in a context's place, and what it takes."""

# Shape suffixes: B rows, T tokens, C vectors in the context's place, M latents, D width.

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.data import Batch
from loradrift.data.reconstruction import EncodedContexts
from loradrift.models.soft_prompt import chunk_means
from loradrift.tasks.reconstruction.answering import Answerer, scores

FULL_TEXT = "full_text"

BASE_RUNGS = (
    FULL_TEXT, "embedding_replay", "truncated_tokens", "truncated_bytes", "mean_pooling",
    "pca_inverse", "no_context",
)  # fmt: skip
"""Answered by the base model, whatever is trained."""

OWN_RUNGS = ("soft_prompt", "swapped", "random")
"""Answered by a run's model."""

FLOAT_BYTES = 4
"""Of each number of an embedding."""


class RungRow(NamedTuple):
    """What one question is answered on one rung."""

    row: int
    """Its place in the table."""

    positions: int
    """Vectors in the context's place."""

    num_bytes: float
    """What they take; of text its UTF-8 bytes."""

    answer: str
    f1: float
    em: float
    gold_loss: float
    """Mean of the gold answer's tokens, without the one that ends it, in nats."""


class Given(NamedTuple):
    """What stands in the contexts' place of a batch."""

    context_BCD: Tensor
    sizes_B: Tensor
    """How many of the vectors are a row's own."""

    num_bytes: Sequence[float]


Rung = Callable[[Batch, Tensor], Given]
"""From a batch and the embeddings (B, T, D) of its tokens."""


def context_embeds(embeds_BTD: Tensor, batch: Batch) -> Tensor:
    """The vectors (B, C, D) of each context's tokens, and whatever stands behind shorter ones."""
    start_B, end_B = batch["context_start"], batch["context_end"]
    places_C = torch.arange(int((end_B - start_B).max()), device=start_B.device)
    index_BC = (start_B[:, None] + places_C).clamp(max=embeds_BTD.shape[1] - 1)
    return embeds_BTD.gather(1, index_BC[:, :, None].expand(-1, -1, embeds_BTD.shape[2]))


def replay(batch: Batch, embeds_BTD: Tensor) -> Given:
    """All of the contexts' own embeddings."""
    sizes_B = batch["context_end"] - batch["context_start"]
    width = embeds_BTD.shape[2]
    num_bytes = [float(size) * width * FLOAT_BYTES for size in sizes_B.tolist()]
    return Given(context_embeds(embeds_BTD, batch), sizes_B, num_bytes)


def no_context(batch: Batch, embeds_BTD: Tensor) -> Given:
    """Nothing."""
    rows, _, width = embeds_BTD.shape
    sizes_B = torch.zeros_like(batch["context_start"])
    return Given(embeds_BTD.new_zeros(rows, 0, width), sizes_B, [0.0] * rows)


def first_tokens(table: EncodedContexts, num_tokens: int) -> Rung:
    """The contexts' first tokens, so many at most."""

    def rung(batch: Batch, embeds_BTD: Tensor) -> Given:
        sizes_B = (batch["context_end"] - batch["context_start"]).clamp(max=num_tokens)
        return _cut(table, batch, embeds_BTD, sizes_B)

    return rung


def first_bytes(table: EncodedContexts, num_bytes: float) -> Rung:
    """The contexts' first tokens that take so many bytes at most."""

    def rung(batch: Batch, embeds_BTD: Tensor) -> Given:
        sizes = [(table.byte_ends(i) <= num_bytes).sum() for i in batch["index"].tolist()]
        sizes_B = torch.tensor(sizes, device=embeds_BTD.device)
        return _cut(table, batch, embeds_BTD, sizes_B)

    return rung


def _cut(table: EncodedContexts, batch: Batch, embeds_BTD: Tensor, sizes_B: Tensor) -> Given:
    pairs = zip(batch["index"].tolist(), sizes_B.tolist(), strict=True)
    num_bytes = [float(table.byte_ends(i)[size - 1]) if size else 0.0 for i, size in pairs]
    return Given(context_embeds(embeds_BTD, batch), sizes_B, num_bytes)


def means(num_chunks: int) -> Rung:
    """The means of equal chunks of the contexts' embeddings, as they are."""

    def rung(batch: Batch, embeds_BTD: Tensor) -> Given:
        ends = batch["context_start"], batch["context_end"]
        found_BMD = chunk_means(embeds_BTD, *ends, num_chunks)
        return vectors(found_BMD, num_chunks * found_BMD.shape[2] * FLOAT_BYTES)

    return rung


def vectors(context_BMD: Tensor, num_bytes: float) -> Given:
    """As many vectors for each row."""
    rows, num_latents = context_BMD.shape[:2]
    sizes_B = torch.full((rows,), num_latents, device=context_BMD.device)
    return Given(context_BMD, sizes_B, [num_bytes] * rows)


def answer_given(
    answerer: Answerer, table: EncodedContexts, batch: Batch, given: Given
) -> list[RungRow]:
    """Answer a batch's questions with what is given in the contexts' place."""
    found = answerer.answer_with(given.context_BCD, given.sizes_B, batch)
    rows = batch["index"].tolist()
    return scored(table, rows, given, found.texts, found.gold_loss_B.tolist())


def scored(
    table: EncodedContexts,
    rows: Sequence[int],
    given: Given,
    texts: Sequence[str],
    gold_losses: Sequence[float],
) -> list[RungRow]:
    """Answers with their marks."""
    marks = scores([table.rows[index].answers for index in rows], texts)
    columns = zip(
        rows, given.sizes_B.tolist(), given.num_bytes, texts, marks, gold_losses, strict=True
    )
    return [
        RungRow(row, positions, num_bytes, text, f1, em, loss)
        for row, positions, num_bytes, text, (f1, em), loss in columns
    ]
