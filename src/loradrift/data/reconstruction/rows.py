"""Contexts with a question and its answer: what ``task=reconstruction`` compresses and asks for."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loradrift.config import DataConfig, UserError, check
from loradrift.data.base import Splits
from loradrift.data.hub import read_hub_squad
from loradrift.data.splits import split_questions
from loradrift.data.squad_v2.format import Question, find_squad, read_squad

QUESTION = "{question}"
"""What stands for the question in :attr:`Layout.asking`."""

POOL = 32
"""Contexts that are drawn for each example in the prompt; the shortest of them are shown."""

WORLD = "reconstruction"
"""Folder of the generated questions, in SQuAD v2's format."""


class ContextRow(NamedTuple):
    """One question on one context."""

    id: str
    context: str
    question: str
    answers: tuple[str, ...]
    """Gold answers, spans of the context; the first is what a model learns to say."""

    answer_end: int = 0
    """Character of the context behind the first gold answer."""

    shots: str = ""
    """Examples that a model reads before the context, as text; the same for all rows of a run."""


class Layout(NamedTuple):
    """What stands between a context and the answer to the question on it."""

    asking: str
    """With ``{question}`` in it."""

    anchor: str

    def rest(self, question: str) -> str:
        r"""The text between context and answer.

        >>> Layout("\nQuestion: {question}\n", "Answer:").rest("Who?")
        '\nQuestion: Who?\nAnswer:'
        """
        return self.asking.replace(QUESTION, question) + self.anchor

    def example(self, row: ContextRow) -> str:
        """A row as an example for another: context, question, answer, and an empty line."""
        return f"{row.context}{self.rest(row.question)} {row.answers[0]}\n\n"


def load_contexts(
    data: DataConfig,
    root: Path | None,
    layout: Layout,
    shots: int,
    *,
    evaluation_rows: int | None = None,
) -> Splits[ContextRow]:
    """Answerable questions from the source that ``data`` names; no paragraph is in two splits.

    Args:
        data: Source, seed and numbers of rows.
        root: Folder of the official files, or of all generated ones; None with ``data=hub``.
        layout: How the examples are written.
        shots: How many questions of the training split are examples in every prompt; their
            contexts are in no row.
        evaluation_rows: How many questions of the reported split are rows; all, unless given.

    Raises:
        UserError: If a file is missing or malformed, or there are too few rows.
    """
    found = [_read(data, root, split) for split in ("train", data.evaluation_split)]
    dropped = sum(not question.answers for each in found for question in each)
    train, evaluation = ([q for q in each if q.answers] for each in found)
    if not evaluation:
        raise UserError(f"the {data.evaluation_split} split holds no question with an answer")
    if evaluation_rows is not None:
        rule = f"at most {len(evaluation)} (the {data.evaluation_split} split's answerable ones)"
        check(evaluation_rows <= len(evaluation), "task.evaluation_rows", rule, evaluation_rows)
        drawn = random.Random(data.seed).sample(range(len(evaluation)), evaluation_rows)
        evaluation = [evaluation[i] for i in sorted(drawn)]
    # before the rows are cut: how many are trained on must not change the prompt
    text, train = take_shots(train, shots, layout, data.seed)
    splits = split_questions(train, evaluation, data)
    parts = ([context_row(question, text) for question in each] for each in splits.rows)
    train_rows, validation_rows, reported = parts
    counts = {"dropped_unanswerable": dropped}
    return Splits(train_rows, validation_rows, reported, counts)


def context_row(question: Question, shots: str = "") -> ContextRow:
    """An answerable question of SQuAD v2 as a row."""
    golds = question.answers
    answers = tuple(dict.fromkeys(gold.text for gold in golds))
    end = golds[0].start + len(golds[0].text)
    return ContextRow(question.id, question.context, question.question, answers, end, shots)


def take_shots(
    train: Sequence[Question], number: int, layout: Layout, seed: int
) -> tuple[str, list[Question]]:
    """Examples of different contexts as text, and the questions on all other contexts.

    Of some contexts that are drawn, the shortest are taken: a prompt has room for them.

    Raises:
        UserError: If there are too few contexts to leave one to train on.
    """
    if not number:
        return "", list(train)
    by_context = {question.context: question for question in reversed(train)}
    size = len(by_context)
    check(number < size, "task.shots", f"less than the {size} contexts to train on", number)
    drawn = random.Random(seed).sample(list(by_context), min(POOL * number, size))
    shown = sorted(drawn, key=lambda context: (len(context), context))[:number]
    text = "".join(layout.example(context_row(by_context[context])) for context in shown)
    return text, [question for question in train if question.context not in shown]


def _read(data: DataConfig, root: Path | None, split: str) -> list[Question]:
    if data.name == "hub":
        return read_hub_squad(split)
    assert root is not None
    return read_squad(find_squad(root / WORLD if data.name == "embedded" else root, split))
