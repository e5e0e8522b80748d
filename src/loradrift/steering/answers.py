"""The answers of a steered model, kept batch by batch, and ``answers.csv``."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from loradrift.caching import recall
from loradrift.config.errors import UserError
from loradrift.files import read_json, write_atomic, write_json
from loradrift.generation.base import Request, Sampling
from loradrift.generation.decoding import NotFiniteError, stop_tokens
from loradrift.progress import QUIET_S, Tenths
from loradrift.steering.doses import Dose

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine

COLUMNS = ("id", "question", "sample", "answer", "num_tokens", "ended")
"""What ``answers.csv`` holds."""

BATCHES = "answers"
"""Folder of the batches, in a cell that is not finished."""


@dataclass(frozen=True)
class Asked:
    """One answer that is wanted."""

    id: str
    """Trait, number of the question, number of the answer to it; the same in every arm."""

    question: str
    sample: int
    prompt_ids: tuple[int, ...]

    def request(self, dose: Dose) -> Request:
        """What the engine is asked, under a dose."""
        return Request(self.id, self.prompt_ids, None, dose.interventions)


@dataclass(frozen=True)
class Answer:
    """A row of ``answers.csv``, and its tokens."""

    id: str
    question: str
    sample: int
    answer: str
    ended: bool
    """Whether the model ended it itself; else it was cut at ``max_tokens``."""

    token_ids: list[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of the answer, with the one that ends it."""
        return len(self.token_ids)


@dataclass(frozen=True)
class Batch:
    """Answers that were given together."""

    seconds: float
    answers: list[Answer]


def answer_all(
    engine: "HfEngine",
    asked: Sequence[Asked],
    dose: Dose,
    sampling: Sampling,
    *,
    batch_size: int,
    tokenizer: Any,
    folder: Path,
) -> list[Batch]:
    """Every answer, in batches that do not depend on what was answered before.

    A batch is written to ``folder`` as soon as it is there; those that are there already are read.

    Raises:
        UserError: If the model's logits are not finite; says how many answers are kept.
    """
    stops = stop_tokens(engine.backbone.causal_lm)
    batches: list[Batch] = []
    progress = Tenths("answer", len(asked), quiet_s=QUIET_S)
    for number, first in enumerate(range(0, len(asked), batch_size)):
        some = asked[first : first + batch_size]
        path = folder / BATCHES / f"batch={number:03d}.json"
        batch = recall(path, partial(_read, some))
        if batch is None:
            began = perf_counter()
            try:
                completions = engine.generate([each.request(dose) for each in some], sampling)
            except NotFiniteError as error:
                raise UserError(
                    f"{error}: the coefficient is too large for this model; {first} of "
                    f"{len(asked)} answers are kept"
                ) from None
            seconds = perf_counter() - began
            tokens = [list(each.token_ids) for each in completions]
            texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
            answers = [
                Answer(each.id, each.question, each.sample, text.strip(), ids[-1] in stops, ids)
                for each, text, ids in zip(some, texts, tokens, strict=True)
            ]
            batch = Batch(seconds, answers)
            write_json(path, asdict(batch))
        batches.append(batch)
        progress.reach(first + len(some))
    return batches


def _read(asked: Sequence[Asked], path: Path) -> Batch:
    """A batch of just these answers; ValueError if the file is damaged."""
    stored = read_json(path)
    try:
        answers = [Answer(**each) for each in stored["answers"]]
        batch = Batch(float(stored["seconds"]), answers)
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    if [each.id for each in answers] != [each.id for each in asked]:
        raise ValueError("it holds answers to other questions")
    return batch


def write_answers(path: Path, batches: Sequence[Batch]) -> None:
    """Write ``answers.csv``, whole or not at all."""
    with write_atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for batch in batches:
            for each in batch.answers:
                ended = str(each.ended).lower()
                table.writerow(
                    [each.id, each.question, each.sample, each.answer, each.num_tokens, ended]
                )


def drop_batches(folder: Path) -> None:
    """Remove the batches, all of which are in ``answers.csv``."""
    shutil.rmtree(folder / BATCHES)
