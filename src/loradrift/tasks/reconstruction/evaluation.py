"""What is measured of held-out rows: the gold answers' losses, and the answers given."""

# Shape suffixes: B rows, M latents, Z numbers of a latent, D width.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from loradrift.collapse import Generations
from loradrift.data import Batch, EvaluationBatches, Share
from loradrift.models.soft_prompt import SoftPrompt, SoftPromptHead, SoftPromptModel
from loradrift.tasks.base import gathered
from loradrift.tasks.reconstruction.answering import Answerer, GoldScores, scores
from loradrift.tasks.reconstruction.losses import cosines

if TYPE_CHECKING:
    from loradrift.data.reconstruction import ContextRow, EncodedContexts


class RowScore(NamedTuple):
    """What a teacher-forced pass says of one row."""

    row: int
    loss: float
    """Sum over the gold answer's tokens."""

    num_tokens: int
    num_right: int
    first_right: bool
    cosine: float


class RowAnswer(NamedTuple):
    """What one question was answered."""

    row: int
    text: str
    token_ids: list[int]
    ended: bool
    f1: float
    em: float
    gold_loss: float
    swapped_gold_loss: float
    """With another row's latents; NaN where that has the same context."""

    first_entropy: float
    latents_MZ: Tensor
    square: float
    """Mean square of the soft prompt's numbers."""


def row_scores(batch: Batch, gold: GoldScores, soft: SoftPrompt) -> list[RowScore]:
    """One for each row of a batch."""
    cosine_B = cosines(soft.soft_BMD, soft.target_BMD).mean(1)
    columns = (batch["index"], *gold, cosine_B)
    return [RowScore(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]


def chosen_rows(num_rows: int, most: int | None) -> list[int]:
    """Rows to be answered: all, or so many that are evenly spread, always the same."""
    if most is None or most >= num_rows:
        return list(range(num_rows))
    return [i * num_rows // most for i in range(most)]


def other_contexts(contexts: Sequence[str]) -> list[int]:
    """For each context the place of another one, no place twice where that is possible.

    Rows are ordered by context and shifted by as many as the commonest has.

    >>> other_contexts(["a", "a", "b", "c"])
    [2, 3, 0, 1]
    """
    order = sorted(range(len(contexts)), key=lambda i: (contexts[i], i))
    shift = max(contexts.count(context) for context in set(contexts))
    others = [0] * len(contexts)
    for place, index in enumerate(order):
        others[index] = order[(place + shift) % len(order)]
    return others


class Reader(NamedTuple):
    """What answers from soft prompts."""

    model: SoftPromptModel
    answerer: Answerer

    def rows(self, batches: EvaluationBatches, rows: list[int]) -> tuple[Batch, SoftPrompt]:
        """Rows of a table where the model is, and their soft prompts."""
        device = self.model.head.embedding_rms.device
        batch = batches.collate(batches.table, rows)
        here = {name: value.to(device) for name, value in batch.items()}
        return here, self.model.soft_prompt(here)


def answer_rows(
    reader: Reader, batches: EvaluationBatches, most: int | None, share: Share
) -> dict[int, RowAnswer]:
    """The answers to chosen rows of a table, by row; each process gives its share."""
    table: Any = batches.table
    rows = chosen_rows(len(table), most)
    others = other_contexts([table.rows[index].context for index in rows])
    partner = {index: rows[other] for index, other in zip(rows, others, strict=True)}
    size = max(map(len, batches.batches))
    own = sorted(rows[share.rank :: share.world_size], key=lambda row: -int(table.lengths[row]))
    found: list[RowAnswer] = []
    for first in range(0, len(own), size):
        indices = own[first : first + size]
        found += _answer_batch(reader, batches, indices, [partner[index] for index in indices])
    return {answer.row: answer for answer in sorted(gathered(found))}


def _answer_batch(
    reader: Reader, batches: EvaluationBatches, indices: list[int], others: list[int]
) -> list[RowAnswer]:
    model, answerer = reader
    table: Any = batches.table
    batch, soft = reader.rows(batches, indices)
    _, swapped = reader.rows(batches, others)
    sizes_B = torch.full((len(indices),), soft.soft_BMD.shape[1], device=soft.soft_BMD.device)
    answers = answerer.answer_with(soft.soft_BMD, sizes_B, batch)
    gold = answerer.score_gold(model.student_embeds(batch, swapped.soft_BMD), batch)
    marks = scores([table.rows[index].answers for index in indices], answers.texts)
    pairs = zip(indices, others, strict=True)
    alike = [table.rows[own].context == table.rows[other].context for own, other in pairs]
    losses_B = gold.loss_B / gold.num_tokens_B
    columns = (
        losses_B.masked_fill(torch.tensor(alike, device=losses_B.device), torch.nan).tolist(),
        answers.first_entropy_B.tolist(),
        soft.latents_BMZ.cpu(),
        soft.soft_BMD.square().mean((1, 2)).tolist(),
    )
    given = zip(
        indices, answers.texts, answers.token_ids, answers.ended, marks,
        answers.gold_loss_B.tolist(), *columns, strict=True,
    )  # fmt: skip
    return [
        RowAnswer(index, text, ids, ended, *mark, *rest)
        for index, text, ids, ended, mark, *rest in given
    ]


def figures_of(found: Sequence[RowScore], answers: Mapping[int, RowAnswer]) -> dict[str, float]:
    """The figures of one split."""
    rows = gathered(list(found))
    tokens = sum(row.num_tokens for row in rows)
    return {
        "loss": sum(row.loss for row in rows) / tokens,
        "text_f1": _mean([answer.f1 for answer in answers.values()]),
        "text_em": _mean([answer.em for answer in answers.values()]),
        "first_token_accuracy": _mean([float(row.first_right) for row in rows]),
        "teacher_forced_accuracy": sum(row.num_right for row in rows) / tokens,
        "reconstruction_cosine": _mean([row.cosine for row in rows]),
    }


class Sizes(NamedTuple):
    """What contexts take: the bits of their latents, and the UTF-8 bytes of their text."""

    latent_bytes: float
    text_bytes: float
    """Mean over the rows, as far as their contexts are read."""

    bits_per_token: float
    """Latent bits for each token of the text."""

    compression: float
    """Text's bytes for each of the latents'; below 1 the latents are larger."""


def sizes_of(table: EncodedContexts, head: SoftPromptHead) -> Sizes:
    """The sizes of a table's contexts."""
    latent = head.sizes.num_bytes(head.width)
    text = float(table.context_bytes.mean())
    tokens = float((table.context_end - table.context_start).mean())
    return Sizes(latent, text, 8 * latent / tokens, text / latent)


def size_lines(sizes: Sizes) -> list[str]:
    """A notice where nothing is compressed."""
    if sizes.compression >= 1:
        return []
    return [
        f"error: nothing is compressed: the latents take {sizes.latent_bytes:.0f} bytes, "
        f"the text {sizes.text_bytes:.0f} (compression {sizes.compression:.2f})"
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def generations_of(answers: Mapping[int, RowAnswer], head: SoftPromptHead) -> Generations:
    """What was generated, and from what."""
    found = list(answers.values())
    return Generations(
        token_ids=[answer.token_ids for answer in found],
        texts=[answer.text for answer in found],
        latents_NMZ=torch.stack([answer.latents_MZ for answer in found]),
        soft_rms=_mean([answer.square for answer in found]) ** 0.5,
        embedding_rms=float(head.embedding_rms),
        first_token_entropy_N=[answer.first_entropy for answer in found],
        gold_loss_N=[answer.gold_loss for answer in found],
        swapped_gold_loss_N=[answer.swapped_gold_loss for answer in found],
    )


def prediction_line(row: ContextRow, answer: RowAnswer) -> dict[str, Any]:
    """A row of ``predictions.jsonl``."""
    return {
        "id": row.id,
        "question": row.question,
        "gold": list(row.answers),
        "answer": answer.text,
        "f1": answer.f1,
        "em": answer.em,
        "gold_loss": answer.gold_loss,
        "num_tokens": len(answer.token_ids),
        "ended": answer.ended,
    }
