"""Which rows are trained on, which choose the checkpoint and the threshold, which are reported."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from loradrift.config import DataConfig, UserError
from loradrift.data.base import Row, Splits
from loradrift.data.squad_v2.format import Question


def split_rows(train: Sequence[Row], evaluation: Sequence[Row], data: DataConfig) -> Splits[Row]:
    """Hold validation rows out of the training rows, then cut these to ``data.train_rows``.

    Validation rows are whole texts, like the rows of the evaluation split. Training rows that are
    pieces of one (:func:`leakage_groups`) would give it away and are left out.

    Raises:
        UserError: If a split is empty, or fewer training rows are left than asked for.
    """
    if not evaluation:
        raise UserError(f"the {data.evaluation_split} split is empty")
    root = leakage_groups([row.text for row in train])
    order = list(range(len(train)))
    random.Random(data.seed).shuffle(order)
    wholes = [i for i in order if root[i] == i]
    held_out = set(wholes[: min(data.validation_rows, len(wholes) // 10)])
    if not held_out:
        raise UserError(f"the train split has {len(wholes)} texts; at least 10 are needed")
    rest = [i for i in order if root[i] not in held_out]
    kept, held = _cut(rest, held_out, data, "rows and their pieces")
    return Splits([train[i] for i in kept], [train[i] for i in held], list(evaluation))


def split_questions(
    train: Sequence[Question], evaluation: Sequence[Question], data: DataConfig
) -> Splits[Question]:
    """Hold whole paragraphs out of the training split, then cut it to ``data.train_rows``.

    Raises:
        UserError: If there are too few paragraphs, or fewer training rows than asked for, or a
            paragraph or an id of the training split is in the reported one too.
    """
    paragraphs: defaultdict[str, list[int]] = defaultdict(list)
    for i, question in enumerate(train):
        paragraphs[question.context].append(i)
    ids = {question.id for question in train}
    where = f"of the {data.evaluation_split} split is in the train split too"
    if shared := next((q for q in evaluation if q.context in paragraphs), None):
        raise UserError(f"the paragraph of question {shared.id} {where}")
    if shared := next((q for q in evaluation if q.id in ids), None):
        raise UserError(f"the question id {shared.id!r} {where}: ids must be unique over both")
    order = list(paragraphs.values())
    random.Random(data.seed).shuffle(order)
    wanted = min(data.validation_rows, len(train) // 10)
    held_out: set[int] = set()
    rest: list[int] = []
    for members in order:
        if len(held_out) < wanted:
            held_out.update(members)
        else:
            rest += members
    if not held_out or not rest:
        raise UserError(
            f"the train split has {len(train)} questions on {len(order)} paragraphs: too few to "
            "hold some out"
        )
    kept, held = _cut(rest, held_out, data, "questions")
    return Splits([train[i] for i in kept], [train[i] for i in held], list(evaluation))


def leakage_groups(texts: Sequence[str]) -> list[int]:
    """For each text, the index of the longest one that contains it whole; itself if none does.

    SST-2's training rows are the phrases of whole sentences: the phrases belong to their sentence.
    RTE repeats a premise with several hypotheses. A phrase of several sentences goes to the longest
    (the first of equals), so texts with the same answer are one family. Words are separated by
    white space.
    """
    words = [text.split() for text in texts]
    padded = [f" {' '.join(each)} " for each in words]
    frequency = Counter(word for each in words for word in set(each))
    # A container holds the rarest word too: few need to be looked at.
    containers: defaultdict[str, list[int]] = defaultdict(list)
    root = list(range(len(texts)))
    for i in sorted(root, key=lambda i: (-len(words[i]), i)):
        rarest = min(words[i], key=frequency.__getitem__)
        found = next((j for j in containers[rarest] if padded[i] in padded[j]), None)
        if found is None:
            for word in set(words[i]):
                containers[word].append(i)
        else:
            root[i] = found
    return root


def _cut(
    rest: list[int], held_out: set[int], data: DataConfig, what: str
) -> tuple[list[int], list[int]]:
    """Places of the training and validation rows, in order."""
    if data.train_rows is not None and data.train_rows > len(rest):
        raise UserError(
            f"data.train_rows must be at most {len(rest)} (the train split without its "
            f"{len(held_out)} validation {what}), got {data.train_rows}"
        )
    return sorted(rest[: data.train_rows]), sorted(held_out)
