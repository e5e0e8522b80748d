"""The official SQuAD v2 figures of any system's files."""

import json
import sys
from pathlib import Path
from typing import Any

from loradrift.analysis.squad_v2 import SquadReportConfig
from loradrift.config import UserError
from loradrift.data.squad_v2.format import read_json, read_squad
from loradrift.data.squad_v2.metrics import Evaluation, evaluate, some


def evaluate_files(settings: SquadReportConfig) -> Evaluation:
    """Evaluate predictions, with a line on stderr for each kind of oddity.

    Raises:
        UserError: If a file is missing or malformed, or the files do not belong together.
    """
    dataset, predictions = Path(settings.dataset), Path(settings.predictions)
    na_probs = None if settings.na_probs is None else Path(settings.na_probs)
    problems: list[str] = []
    questions = read_squad(dataset, problems)
    answers = read_answers(predictions)
    probabilities = None if na_probs is None else read_probabilities(na_probs)
    evaluation = evaluate(questions, answers, probabilities)
    if problems:
        warn(
            f"what the official evaluation does not look at in {dataset} (training refuses it): "
            f"{len(problems)}; {'; '.join(problems[:3])}"
        )
    warn_of_skips(evaluation, dataset, predictions)
    if probabilities is not None:
        ids = {question.id for question in questions}
        if strange := [id for id in probabilities if id not in ids]:
            warn(f"ids of {na_probs} that {dataset} does not have: {some(strange)}; ignored")
        if wide := [id for id, value in probabilities.items() if not 0 <= value <= 1]:
            warn(
                f"values of {na_probs} outside [0, 1]: {some(wide)}; as the official evaluation "
                "does, a prediction with one above 1 counts as no answer"
            )
    return evaluation


def show(settings: SquadReportConfig, evaluation: Evaluation) -> None:
    """Print the figures as JSON."""
    print(json.dumps(evaluation.figures, indent=2))


def read_answers(path: Path) -> dict[str, str]:
    """Question id -> answer.

    Raises:
        UserError: If the file is missing or no JSON object of strings.
    """
    answers = _read_object(path, "predictions", "answer")
    for id, answer in answers.items():
        if not isinstance(answer, str):
            raise UserError(
                f"predictions={path}: {id!r} must have a string, got {json.dumps(answer)[:80]}"
            )
    return answers


def read_probabilities(path: Path) -> dict[str, float]:
    """Question id -> probability that there is no answer.

    Raises:
        UserError: If the file is missing or no JSON object of finite numbers.
    """
    probabilities = _read_object(path, "na_probs", "probability")
    for id, value in probabilities.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN compares false with everything; so large an integer would be no float
        if not number or not abs(value) <= sys.float_info.max:
            raise UserError(
                f"na_probs={path}: {id!r} must have a finite number, got {json.dumps(value)[:80]}"
            )
    return probabilities


def _read_object(path: Path, key: str, value: str) -> dict[str, Any]:
    expected = f"a JSON object, question id -> {value},"
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise UserError(f"{key}={path} must be {expected} got {type(content).__name__}")
    return content


def warn_of_skips(evaluation: Evaluation, dataset: Path, predictions: Path) -> None:
    """Count and name what is in no figure."""
    if evaluation.missing:
        warn(f"questions without a prediction: {some(evaluation.missing)}; in no figure")
    if evaluation.unknown:
        warn(
            f"ids of {predictions} that {dataset} does not have: {some(evaluation.unknown)}; "
            "ignored"
        )


def warn(message: str) -> None:
    """One line on stderr: stdout holds the figures alone."""
    print(f"warning: {message}", file=sys.stderr, flush=True)
