"""Pairs of answers, for and against a trait, that are fit to train on, and which split has them."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loradrift.config import DataConfig, UserError
from loradrift.data.base import Example, Splits
from loradrift.data.persona.answers import JudgedAnswer, answers_file, read_answers

THRESHOLD = 50
"""Of trait and coherence, as in persona vectors (Chen et al. 2025, arXiv:2507.21509)."""


class Pair(NamedTuple):
    """Two answers to one question under opposite instructions."""

    pos: JudgedAnswer
    neg: JudgedAnswer


class KeptPairs(NamedTuple):
    """What is left of two files, and how many were dropped for which reason."""

    pairs: list[Pair]
    dropped: dict[str, int]


def kept_pairs(root: Path, trait: str) -> KeptPairs:
    """The pairs whose positive answer has the trait, whose negative one has not, both coherent.

    Raises:
        UserError: If a file is missing or malformed, or no pair is fit.
    """
    pos, neg = ({each.pair: each for each in read_answers(root, trait, s)} for s in ("pos", "neg"))
    dropped = Counter({"unpaired": len(pos.keys() ^ neg.keys())})
    pairs = []
    for pair in (Pair(pos[name], neg[name]) for name in pos if name in neg):
        if pair.pos.question != pair.neg.question:
            path = answers_file(root, trait, "neg")
            raise UserError(f"{path}: {pair.neg.id} answers another question than {pair.pos.id}")
        if reason := fault(pair):
            dropped[reason] += 1
        else:
            pairs.append(pair)
    counts = {reason: number for reason, number in sorted(dropped.items()) if number}
    if not pairs:
        why = ", ".join(f"{reason}: {number}" for reason, number in counts.items()) or "it is empty"
        raise UserError(f"{answers_file(root, trait, 'pos')}: no pair is fit to train on ({why})")
    return KeptPairs(pairs, counts)


def fault(pair: Pair) -> str | None:
    """Why a pair is not fit to train on; the first reason of several."""
    if not (pair.pos.answer and pair.neg.answer):
        return "empty_answer"
    scores = [score for each in pair for score in (each.score, each.coherence)]
    if any(score is None for score in scores):
        return "unscored"
    pos, pos_coherence, neg, neg_coherence = (score or 0.0 for score in scores)
    if min(pos_coherence, neg_coherence) < THRESHOLD:
        return "incoherent"
    if pos < THRESHOLD:
        return "positive_without_trait"
    return "negative_with_trait" if neg >= THRESHOLD else None


def split_pairs(
    kept: KeptPairs, data: DataConfig, *, side: str, share: float | None = None
) -> Splits[Example]:
    """Questions and answers of one side, or of both; no question is in two splits.

    A tenth of the questions is held out for validation and a tenth for evaluation, drawn by the
    data's seed. A pair gives one of its answers, so that every side and share has as many rows.

    Args:
        kept: Of one trait.
        data: Seed and numbers of rows.
        side: ``pos``, ``neg`` or ``mixed``.
        share: Of ``mixed``, the share of rows with the positive answer, in every split.

    Raises:
        UserError: If there are too few questions, or fewer training rows than asked for.
    """
    questions = list(dict.fromkeys(pair.pos.question for pair in kept.pairs))
    random.Random(data.seed).shuffle(questions)
    held = max(1, len(questions) // 10)
    if len(questions) < 3:
        raise UserError(
            f"the kept pairs answer {len(questions)} questions: at least 3 are needed, to hold one "
            "out for validation and one for evaluation"
        )
    place = {question: i // held for i, question in enumerate(questions[: 2 * held])}
    validation, evaluation, train = (
        [pair for pair in kept.pairs if place.get(pair.pos.question, 2) == part]
        for part in range(3)
    )
    if data.train_rows is not None and data.train_rows > len(train):
        raise UserError(
            f"data.train_rows must be at most {len(train)} (the kept pairs without those of held-"
            f"out questions), got {data.train_rows}"
        )
    positive = {"pos": 1.0, "neg": 0.0}.get(side, share)
    assert positive is not None
    return Splits(
        _answered(train, positive, data.seed, data.train_rows),
        _answered(validation, positive, data.seed, data.validation_rows),
        _answered(evaluation, positive, data.seed, None),
        {f"dropped_{reason}": number for reason, number in kept.dropped.items()}
        | {"kept_pairs": len(kept.pairs)},
    )


def _answered(pairs: Sequence[Pair], share: float, seed: int, limit: int | None) -> list[Example]:
    """One answer of each of so many pairs; a larger share keeps the positive ones of a smaller."""
    drawn = list(range(len(pairs)))
    random.Random(seed).shuffle(drawn)
    drawn = drawn[:limit]
    positive = set(
        random.Random(f"{seed} sides").sample(drawn, len(drawn))[: round(share * len(drawn))]
    )
    chosen = [pairs[i].pos if i in positive else pairs[i].neg for i in sorted(drawn)]
    return [Example(each.id, each.question, each.answer) for each in chosen]
