"""Answers to look at: the same few questions under every arm and dose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.steering_cells.judged import Judged

PER_DOSE = 3
LONGEST = 400
"""Characters of an answer that are shown."""

COLUMNS = ["trait", "arm", "dose", "question", "answer", "score", "coherence", "status"]


def sample_answers(curves: Sequence[Curve], seed: int) -> pd.DataFrame:
    """Three answers per arm and dose, to questions drawn once for each trait; no best of many."""
    rows = []
    for curve in curves:
        rng = np.random.default_rng(seed)
        questions = sorted(next(iter(curve.cells.values()))[0].cell.questions)
        chosen = sorted(rng.permutation(len(questions))[:PER_DOSE].tolist())
        for dose, cells in curve.cells.items():
            if dose == 0 and curve.arm.kind != "none" and _is_none(cells[0]):
                continue
            rows += _rows(curve.arm, dose, cells[0], [questions[i] for i in chosen])
    return pd.DataFrame(rows, columns=COLUMNS)


def _is_none(cell: Judged) -> bool:
    """Whether the cell without steering stands for an arm's dose 0."""
    return cell.cell.arm == "none"


def _rows(arm: Arm, dose: float, cell: Judged, questions: Sequence[str]) -> list[list[object]]:
    answers = cell.answers[cell.cell.trait]
    rows: list[list[object]] = []
    for question in questions:
        place = answers.questions.index(question)
        answer = " ".join(answers.texts[place].split())
        shown = answer if len(answer) <= LONGEST else f"{answer[:LONGEST]}…"
        scores = [float(each[place]) for each in (answers.trait_A, answers.coherence_A)]
        status = answers.statuses[place]
        rows.append([cell.cell.trait, arm.text, dose, question, shown, *scores, status])
    return rows
