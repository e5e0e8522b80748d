"""The judged answers of a trait as tokens: what the activation vectors are taken from."""

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from loradrift.analysis.drift.arms import Run
from loradrift.config import DataConfig
from loradrift.data import data_root
from loradrift.data.persona import JudgedAnswer, Pair, kept_pairs, prompt_ids
from loradrift.data.tokens import token_ids
from loradrift.steering.vectors import Answered


class TraitRows(NamedTuple):
    """As many answers on each side, to the same questions."""

    positive: list[Answered]
    """After the instruction and the question that they were given to."""

    negative: list[Answered]
    plain: list[Answered]
    """The answers of both sides after the question alone, as a steered model is asked."""

    dropped: dict[str, int]
    """Pairs of answers that were left out, by reason."""


def trait_rows(
    run: Run, tokenizer: Any, *, trait: str, answers: int, max_tokens: int, seed: int, cache: Path
) -> TraitRows:
    """Answers of a trait, drawn by ``seed`` from those that a run was trained on or could be.

    Args:
        run: A run of the trait: its record says where its data come from.
        tokenizer: The base model's.
        trait: Its name.
        answers: How many a side, or all if there are fewer.
        max_tokens: The first so many tokens of an answer are kept.
        seed: Draws them.
        cache: Folder of generated data.

    Raises:
        UserError: If the data are not there or malformed, or no pair of answers is kept.
    """
    values = run.record.config.get("data", {})
    known = {each.name for each in fields(DataConfig)}
    data = DataConfig(**{key: value for key, value in values.items() if key in known})
    kept = kept_pairs(data_root(data, cache), trait)
    order = torch.randperm(len(kept.pairs), generator=torch.Generator().manual_seed(seed))
    pairs: list[Pair] = [kept.pairs[i] for i in order[:answers].tolist()]

    def encoded(answer: JudgedAnswer, *, told: bool) -> Answered:
        prompt = prompt_ids(tokenizer, answer.question, answer.instructions if told else ())
        [ids] = token_ids(tokenizer, [answer.answer])
        return Answered(prompt, ids[:max_tokens])

    positive = [encoded(pair.pos, told=True) for pair in pairs]
    negative = [encoded(pair.neg, told=True) for pair in pairs]
    plain = [encoded(answer, told=False) for pair in pairs for answer in pair]
    return TraitRows(positive, negative, plain, dict(kept.dropped))
