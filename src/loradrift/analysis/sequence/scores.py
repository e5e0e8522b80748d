"""How a task is answered after its own step and after each later one, and without each row."""

# Shape suffixes: K steps from the task's own on, N evaluated rows.

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loradrift.analysis.drift.learned import judge_predictions
from loradrift.analysis.sequence.reading import Chain, StepRun
from loradrift.config import UserError
from loradrift.statistics.values import Array

PERCENT = 100.0


class Column(NamedTuple):
    """A task's scores along a chain, in percent."""

    scores_K: Array
    without_KN: Array | None
    """The same without each row; None where the predictions are not of one set of rows."""


def columns_of(chain: Chain, problems: list[str]) -> dict[str, Column]:
    """Each task's scores, by task; a line of ``problems`` where rows cannot be read.

    Raises:
        UserError: If a record lacks a score.
    """
    found = {}
    for number, own in enumerate(chain.runs):
        later = chain.runs[number:]
        scores_K = np.array([score_after(step, own) for step in later])
        try:
            without_KN = _without_each(later, own, scores_K)
        except UserError as error:
            problems.append(f"{chain.place}: {error}; no interval over the rows of {own.task}")
            without_KN = None
        found[own.task] = Column(PERCENT * scores_K, without_KN)
    return found


def score_after(step: StepRun, own: StepRun) -> float:
    """The score after a step on the task of the same step or of an earlier one, ``own``.

    Raises:
        UserError: If the record has none.
    """
    split = "evaluation" if step is own else f"earlier/{own.task}"
    score = step.record.metrics.get(f"{split}/{own.metric}")
    if score is None:
        raise UserError(f"{step.folder}: run.json has no {split}/{own.metric}")
    return float(score)


def predictions_of(step: StepRun, own: StepRun) -> Path:
    """What was answered after a step to the rows of the task of ``own``."""
    folder = step.folder if step is own else step.folder / "chain" / own.task
    return folder / "predictions.jsonl"


def _without_each(steps: Sequence[StepRun], own: StepRun, scores_K: Array) -> Array:
    """The scores without each row, in percent (K, N).

    Raises:
        UserError: If predictions are missing or damaged, of other rows, or of another score.
    """
    judged = [
        judge_predictions(predictions_of(step, own), own.metric, score)
        for step, score in zip(steps, scores_K, strict=True)
    ]
    for step, each in zip(steps, judged, strict=True):
        if each.ids != judged[0].ids:
            raise UserError(f"{predictions_of(step, own)} is of other rows than the task's own")
    return PERCENT * np.array([each.without_N for each in judged])
