"""From start and end logits to answers: the best spans of each window, then of each question."""

# Shape suffixes: B windows, T tokens, K spans kept.

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from loradrift.data import Batch, Windows
from loradrift.models import SpanLogits

NULL = 0
"""The token whose span stands for no answer where there is no head for that."""


class WindowSpans(NamedTuple):
    """What a window says of its question."""

    window: int
    unanswerable: float
    """Probability that the window does not hold the answer."""

    spans: list[tuple[float, int, int]]
    """Log-probability, first and last token; best first."""


class QuestionPrediction(NamedTuple):
    """What all windows of a question say together."""

    answer: str
    """The best span, whether or not the question is answerable."""

    unanswerable: float
    """The score of having no answer, in the window that is surest to hold one."""

    best: list[tuple[str, float]]
    """Different texts and their log-probabilities, best first."""


def log_probabilities(logits: SpanLogits, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probability (B, T) of each token as start and as end; only the context can be either.

    Without an answerability head the first token can be as well: it stands for no answer.
    """
    allowed_BT = batch["context_mask"].clone()
    if logits.answerable_B is None:
        allowed_BT[:, NULL] = True
    start_BT, end_BT = (
        logits_BT.float().masked_fill(~allowed_BT, -torch.inf).log_softmax(1)
        for logits_BT in (logits.start_BT, logits.end_BT)
    )
    return start_BT, end_BT


def window_losses(logits: SpanLogits, batch: Batch, weight: float) -> Tensor:
    """Loss (B,) of each window, in nats; ``weight`` is of the answerability head's loss.

    With that head, windows without the answer are asked only whether they have it.
    """
    start_BT, end_BT = log_probabilities(logits, batch)
    has_answer_B = batch["starts"] >= 0
    # A window without an answer points at a token that it may point at: minus infinity times zero
    # would be NaN.
    null_B = batch["context_mask"].int().argmax(1) if logits.answerable_B is not None else NULL
    first_B, last_B = (
        torch.where(has_answer_B, batch[name], null_B)[:, None] for name in ("starts", "ends")
    )
    spans_B = -(start_BT.gather(1, first_B) + end_BT.gather(1, last_B)).squeeze(1) / 2
    if logits.answerable_B is None:
        return spans_B
    known_B = F.binary_cross_entropy_with_logits(
        logits.answerable_B.float(), has_answer_B.float(), reduction="none"
    )
    return torch.where(has_answer_B, spans_B, 0.0) + weight * known_B


def find_spans(
    logits: SpanLogits, batch: Batch, *, num_best: int, max_answer: int
) -> list[WindowSpans]:
    """The best ``num_best`` spans of each window, from as many starts and ends.

    None has more than ``max_answer`` tokens.
    """
    start_BT, end_BT = log_probabilities(logits, batch)
    null_B = start_BT[:, NULL] + end_BT[:, NULL]
    start_BT, end_BT = (
        x.masked_fill(~batch["context_mask"], -torch.inf) for x in (start_BT, end_BT)
    )
    width = min(num_best, start_BT.shape[1])
    start_BK, first_BK = start_BT.topk(width)
    end_BK, last_BK = end_BT.topk(width)
    score_BKK = start_BK[:, :, None] + end_BK[:, None, :]
    length_BKK = last_BK[:, None, :] - first_BK[:, :, None]
    score_BKK = score_BKK.masked_fill((length_BKK < 0) | (length_BKK >= max_answer), -torch.inf)
    best_BK, place_BK = score_BKK.flatten(1).topk(width)
    first_BK = first_BK.gather(1, place_BK // width)
    last_BK = last_BK.gather(1, place_BK % width)
    if logits.answerable_B is None:
        unanswerable_B = torch.sigmoid(null_B - best_BK[:, 0])
    else:
        answerable_B = logits.answerable_B.float()
        unanswerable_B = torch.sigmoid(-answerable_B)
        best_BK = best_BK + F.logsigmoid(answerable_B)[:, None]
    columns = (batch["index"], unanswerable_B, best_BK, first_BK, last_BK)
    found = []
    for window, unanswerable, *spans in zip(*(c.tolist() for c in columns), strict=True):
        possible = [span for span in zip(*spans, strict=True) if span[0] > -math.inf]
        found.append(WindowSpans(window, unanswerable, possible))
    return found


def read_answers(
    found: Iterable[WindowSpans], table: Windows, num_best: int
) -> dict[str, QuestionPrediction]:
    """Question id -> what its windows say together, in the table's order."""
    spans: dict[str, dict[str, float]] = {}
    unanswerable: dict[str, float] = {}
    for window, probability, window_spans in sorted(found):
        name = table.questions[table.question[window]].id
        unanswerable[name] = min(probability, unanswerable.get(name, 1.0))
        texts = spans.setdefault(name, {})
        for score, first, last in window_spans:
            text = table.text(window, first, last)
            texts[text] = max(score, texts.get(text, -math.inf))
    readings = {}
    for name, texts in spans.items():
        best = sorted(texts.items(), key=lambda item: -item[1])[:num_best]
        readings[name] = QuestionPrediction(best[0][0] if best else "", unanswerable[name], best)
    return readings
