"""From questions to windows of token ids, and gold answers to tokens."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from loradrift.config import UserError
from loradrift.data.squad_v2.format import Question
from loradrift.data.tokens import encode_texts, special_ids, token_ids

NO_ANSWER = -1


class WindowSizes(NamedTuple):
    """How questions become windows, in tokens."""

    max_length: int
    """Tokens of the whole row."""

    stride: int
    """What two windows of a context have in common."""

    max_question: int
    """Tokens of the question; a longer one is cut."""


class Encoded(NamedTuple):
    """One question as windows."""

    id: str
    windows: list[dict[str, Any]]
    """Each with the columns of :mod:`loradrift.data.squad_v2.windows`."""

    truncated: bool
    lossy: bool
    """Whether its gold answer is lost on the way to tokens, or whole in no window."""


def encode(
    questions: Sequence[Question], tokenizer: Any, sizes: WindowSizes, first: int
) -> Iterator[Encoded]:
    """Windows of some questions; each context is tokenised once."""
    bos, eos = special_ids(tokenizer)
    contexts = list(dict.fromkeys(question.context for question in questions))
    encoded = encode_texts(tokenizer, contexts, return_offsets_mapping=True)
    tokenized = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    by_context = dict(zip(contexts, tokenized, strict=True))
    asked = token_ids(tokenizer, [question.question for question in questions])
    for number, (question, ids) in enumerate(zip(questions, asked, strict=True), start=first):
        tokens, offsets = by_context[question.context]
        prefix = [*bos, *ids[: sizes.max_question], *eos]
        size = sizes.max_length - len(prefix)
        if size <= sizes.stride:
            raise UserError(
                f"task.max_length={sizes.max_length} leaves {size} tokens for the context of "
                f"question {question.id}, which must be more than task.stride={sizes.stride}"
            )
        span = answer_tokens(question, offsets)
        windows: list[dict[str, Any]] = []
        for begin in range(0, max(1, len(tokens) - sizes.stride), size - sizes.stride):
            end = min(begin + size, len(tokens))
            start = last = NO_ANSWER
            if span is not None and begin <= span[0] and span[1] < end:
                start, last = (place - begin + len(prefix) for place in span)
            windows.append(
                {
                    "id": f"{question.id}/{len(windows)}",
                    "question": number,
                    "input_ids": prefix + tokens[begin:end],
                    "context_at": len(prefix),
                    "special": [*range(len(bos)), *range(len(prefix) - len(eos), len(prefix))],
                    "spans": [place for pair in offsets[begin:end] for place in pair],
                    "start": start,
                    "end": last,
                }
            )
        held = any(window["start"] != NO_ANSWER for window in windows)
        lossy = bool(question.answers) and not (
            span and held and _survives(question, offsets, span)
        )
        yield Encoded(question.id, windows, len(ids) > sizes.max_question, lossy)


def answer_tokens(question: Question, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last token of those at ``offsets`` (in characters) that hold the first answer."""
    if not question.answers:
        return None
    text, start = question.answers[0]
    end = start + len(text)
    inside = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
    return (inside[0], inside[-1]) if inside else None


def _survives(
    question: Question, offsets: Sequence[tuple[int, int]], span: tuple[int, int]
) -> bool:
    """Whether the tokens of the first gold answer stand for its very text."""
    back = question.context[offsets[span[0]][0] : offsets[span[1]][1]]
    return back.strip() == question.answers[0].text.strip()
