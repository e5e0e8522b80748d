"""Judged scores of a cell: each answer's status is counted, none is dropped.

An answer is ``scored``, ``empty`` (no text: neither trait nor coherence), a ``refusal``, what the
judge said of it is ``unparsable``, or it is ``unjudged`` yet. Scores of the last three are unknown.
"""

# Shape suffixes: V values (unknown scores lowest, as the known ones, highest), N questions,
# A answers.

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loradrift.analysis.steering_cells.reading import Row, SteeringCell
from loradrift.config import UserError
from loradrift.files import read_json
from loradrift.judges.base import Status
from loradrift.judges.judged import read_judged as read_rows
from loradrift.statistics.values import Array

STATUSES = (*map(str, Status), "unjudged")
UNKNOWN = (str(Status.REFUSAL), str(Status.UNPARSABLE), "unjudged")
LOWEST, HIGHEST = 0.0, 100.0
"""The ends of both scales."""

AGAIN = "delete it and judge again with"


class Answers(NamedTuple):
    """The answers of a cell as scored for one trait, in the cell's order; NaN without a score."""

    questions: list[str]
    texts: list[str]
    trait_A: Array
    coherence_A: Array
    statuses: list[str]


class Scores(NamedTuple):
    """Mean scores per question, with unknown scores lowest, as the known ones, and highest."""

    trait_VN: Array
    coherence_VN: Array


@dataclass(frozen=True, eq=False)
class Judged:
    """A cell with the scores that one judge gave."""

    cell: SteeringCell
    judge: str
    facts: Mapping[str, Any]
    """What ``judge.json`` says."""

    answers: Mapping[str, Answers]
    """By judged trait."""

    def counts(self, trait: str) -> dict[str, int]:
        """Answers by status."""
        found = Counter(self.answers[trait].statuses)
        return {status: found[status] for status in STATUSES}

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """By judged trait, questions in sorted order."""
        return {trait: question_scores(answers) for trait, answers in self.answers.items()}


def judges_of(cells: Sequence[SteeringCell]) -> list[str]:
    """The judges that have scored answers of any of the cells."""
    return sorted(
        {path.parent.name for cell in cells for path in cell.folder.glob("judged/*/*.csv")}
    )


def judging_command(judge: str | None) -> str:
    """What judges all cells that are not judged yet; ``judge`` is named as its folder is."""
    named = (judge or "…").replace("endpoint-", "endpoint judge.base_url=… judge.model=", 1)
    return f"python benchmark.py benchmark=judging judge={named}"


def read_judged(cell: SteeringCell, judge: str) -> Judged:
    """The scores that a judge gave to a cell's answers.

    Raises:
        UserError: If it has not judged the cell's trait, or a file is damaged or of other answers.
    """
    folder = cell.folder / "judged" / judge
    command = judging_command(judge)
    paths = sorted(folder.glob("*.csv"))
    if cell.trait not in {path.stem for path in paths}:
        raise UserError(f"{cell.folder} is not judged by {judge}: `{command}` judges it")
    facts: Any = None
    try:
        facts = read_json(folder / "judge.json")
    except FileNotFoundError:
        raise UserError(f"{folder / 'judge.json'} is missing: {AGAIN} `{command}`") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / 'judge.json'} is damaged ({error}): {AGAIN} `{command}`"
        ) from None
    if not isinstance(facts, dict):
        raise UserError(f"{folder / 'judge.json'} is damaged (no object): {AGAIN} `{command}`")
    answers = {}
    for path in paths:
        try:
            answers[path.stem] = _read_scores(path, cell.answers)
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"{path} is damaged ({reason}): {AGAIN} `{command}`") from None
    return Judged(cell, judge, facts, answers)


def _read_scores(path: Path, answers: Sequence[Row]) -> Answers:
    """The scores of all answers, in their order; ValueError says what is wrong with the file."""
    rows = read_rows(path)
    judged = {item.id: (item, score) for item, score in rows}
    if len(judged) < len(rows):
        raise ValueError("two rows have one id")
    if extra := sorted(judged.keys() - {row["id"] for row in answers}):
        raise ValueError(f"the cell has no answer with the id {extra[0]}")
    numbers, statuses = [], []
    for row in answers:
        item, score = judged.get(row["id"], (None, None))
        if item and (item.question, item.answer) != (row["question"], row["answer"]):
            raise ValueError(f"row {row['id']} scores another answer than the cell's")
        scored = score is not None and score.status is Status.SCORED
        numbers.append((score.trait, score.coherence) if score and scored else (np.nan, np.nan))
        statuses.append(str(score.status) if score else "unjudged")
    trait_A, coherence_A = np.array(numbers, dtype=np.float64).T
    questions, texts = ([row[name] for row in answers] for name in ("question", "answer"))
    return Answers(questions, texts, trait_A, coherence_A, statuses)


def question_scores(answers: Answers) -> Scores:
    """Average the samples of each question; every answer counts, questions in sorted order.

    Unknown scores are 0, the mean of the known ones of the same question (of all questions, where
    it has none) and 100. Where no answer at all is scored, the middle is NaN.
    """
    names, place_A = np.unique(np.array(answers.questions, dtype=object), return_inverse=True)
    statuses = np.array(answers.statuses, dtype=object)
    unknown_A = np.isin(statuses, UNKNOWN)
    counts_N = np.bincount(place_A, minlength=len(names))
    known_N = np.bincount(place_A, ~unknown_A, len(names))
    parts = []
    for scores_A in (answers.trait_A, answers.coherence_A):
        known_A = np.where(statuses == str(Status.EMPTY), LOWEST, scores_A)
        sums_N = np.bincount(place_A, np.where(unknown_A, 0.0, known_A), len(names))
        all_known = sums_N.sum() / known_N.sum() if known_N.any() else np.nan
        fill_N = np.where(known_N > 0, sums_N / np.maximum(known_N, 1), all_known)
        lost_N = counts_N - known_N
        fills = (LOWEST, np.where(lost_N > 0, fill_N, 0.0), HIGHEST)
        parts.append(np.stack([(sums_N + lost_N * fill) / counts_N for fill in fills]))
    return Scores(*parts)
