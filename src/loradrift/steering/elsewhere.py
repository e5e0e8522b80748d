"""What a dose costs where its trait is not asked for: neutral text, and a task."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loradrift.config import TASKS, DataConfig, UserError
from loradrift.config.errors import one_of
from loradrift.generation.base import Request
from loradrift.steering.doses import Dose

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine

LONGEST = 128
"""Most tokens of a row of neutral text, and of a task's question."""

SHORTEST = 16
"""Shorter rows of neutral text are left out."""

TOGETHER = 16
"""Rows at a time."""


class Continued(NamedTuple):
    """A text whose end is foretold from its beginning, under a dose."""

    id: str
    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


class TaskRow(NamedTuple):
    """A question of a task, each of its answers, and the number of the right one."""

    id: str
    answers: tuple[Continued, ...]
    label: int


class Source(NamedTuple):
    """Where rows come from, and how they become tokens."""

    data: DataConfig
    cache: Path
    tokenizer: Any
    before: Sequence[int] = ()
    """Tokens of a dose's instructions, which stand before every text."""


def neutral_rows(source: Source, count: int) -> list[Continued]:
    """The first rows of the neutral text, in two halves; none where there is no such text."""
    from loradrift.data import load_retention_text
    from loradrift.data.tokens import special_ids, token_ids

    bos, _ = special_ids(source.tokenizer)
    found: list[Continued] = []
    for row in load_retention_text(source.data, source.cache):
        if len(found) == count:
            break
        [ids] = token_ids(source.tokenizer, [row.text])
        if len(ids) >= SHORTEST:
            half = len(ids[:LONGEST]) // 2
            prompt = (*bos, *source.before, *ids[:half])
            found.append(Continued(row.id, prompt, tuple(ids[half:LONGEST])))
    return found


def task_rows(task: str, source: Source, count: int) -> list[TaskRow]:
    """Rows of a classification task's evaluation split, drawn by ``data.seed``.

    Raises:
        UserError: If there is no such task, or its rows cannot be read.
    """
    from loradrift.data import FORMATS
    from loradrift.data.tokens import special_ids
    from loradrift.tasks import spec_of
    from loradrift.tasks.classification.baselines import tokenize_answers

    if task not in FORMATS:
        raise UserError(f"steering.task must be {one_of(FORMATS)}, or null, got {task}")
    form = FORMATS[task]
    settings = TASKS[task].config(name=task, max_length=LONGEST, max_steps=1)
    try:
        rows = spec_of(settings).load(settings, source.data, source.cache).evaluation
    except UserError as error:
        raise UserError(f"{error}; steering.task=null measures no task") from None
    bos, _ = special_ids(source.tokenizer)
    found = []
    for row in random.Random(source.data.seed).sample(rows, min(count, len(rows))):
        question = form.question.format(text=row.text, pair=row.pair)
        ids, start = tokenize_answers(source.tokenizer, question, form.answers, LONGEST)
        answers = tuple(
            Continued(
                f"{row.id}/{number}",
                (*bos, *source.before, *each[len(bos) : start]),
                tuple(each[start:]),
            )
            for number, each in enumerate(ids)
        )
        found.append(TaskRow(row.id, answers, row.label))
    return found


def measure_neutral(engine: "HfEngine", rows: Sequence[Continued], dose: Dose) -> dict[str, Any]:
    """``neutral.json``: the loss on the second half of each row, in nats per token."""
    sums = log_likelihoods(engine, rows, dose)
    counts = [len(row.target_ids) for row in rows]
    lines = [
        {"id": row.id, "tokens": count, "nats": -total}
        for row, count, total in zip(rows, counts, sums, strict=True)
    ]
    return {"tokens": sum(counts), "loss": -sum(sums) / sum(counts), "rows": lines}


def measure_task(
    engine: "HfEngine", task: str, rows: Sequence[TaskRow], dose: Dose
) -> dict[str, Any]:
    """``task.json``: whether each row's likeliest answer is right, and the majority's share."""
    sums = iter(log_likelihoods(engine, [x for row in rows for x in row.answers], dose))
    lines = []
    for row in rows:
        own = [next(sums) for _ in row.answers]
        lines.append({"id": row.id, "correct": own.index(max(own)) == row.label})
    [(_, most)] = Counter(row.label for row in rows).most_common(1)
    return {"task": task, "majority": most / len(rows), "rows": lines}


def log_likelihoods(engine: "HfEngine", rows: Sequence[Continued], dose: Dose) -> list[float]:
    """Log-likelihood (nats) of each text's end, given its beginning.

    Raises:
        UserError: If the model's states have overflowed.
    """
    size = engine.backbone.causal_lm.get_output_embeddings().weight.shape[0]
    sums: list[float] = []
    for first in range(0, len(rows), TOGETHER):
        some = rows[first : first + TOGETHER]
        requests = [Request(row.id, row.prompt_ids, None, dose.interventions) for row in some]
        found = engine.answer_log_likelihoods(requests, [row.target_ids for row in some])
        sums += [math.fsum(each) for each in found]
        nats = [x for each in found for x in each]
        if not all(map(math.isfinite, nats)):
            raise UserError("the model's logits are not finite: the coefficient is too large")
        # a norm makes zeros of states whose square is not finite
        if all(math.isclose(x, -math.log(size), rel_tol=1e-6) for x in nats):
            raise UserError(
                "all tokens are equally likely to the model: the coefficient is so "
                "large that its states overflow"
            )
    return sums
