"""The official SQuAD v2 figures of any system's files."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loradrift.analysis.squad_v2 import SquadReportConfig
from loradrift.config import UserError
from loradrift.data.squad_v2.format import read_json, read_squad
from loradrift.data.squad_v2.metrics import Evaluation, evaluate, some


def evaluate_files(settings: SquadReportConfig) -> Evaluation:
    """Evaluate predictions, with a line on stderr for each kind of oddity."""
    dataset, predictions = Path(settings.dataset), Path(settings.predictions)
    problems: list[str] = []
    questions = read_squad(dataset, problems)
    answers = _read_object(predictions, "predictions", "answer", "a string", _is_text)
    probabilities = None
    if settings.na_probs is not None:
        na_probs, must = Path(settings.na_probs), "a finite number"
        probabilities = _read_object(na_probs, "na_probs", "probability", must, _is_finite)
    evaluation = evaluate(questions, answers, probabilities)
    if problems:
        ignored = f"what the official evaluation does not look at in {dataset}"
        warn(f"{ignored} (training refuses it): {len(problems)}; {'; '.join(problems[:3])}")
    if evaluation.missing:
        warn(f"questions without a prediction: {some(evaluation.missing)}; in no figure")
    lacks = f"that {dataset} does not have"
    if evaluation.unknown:
        warn(f"ids of {predictions} {lacks}: {some(evaluation.unknown)}; ignored")
    if probabilities is not None:
        ids = {question.id for question in questions}
        if strange := [id for id in probabilities if id not in ids]:
            warn(f"ids of {na_probs} {lacks}: {some(strange)}; ignored")
        if wide := [id for id, value in probabilities.items() if not 0 <= value <= 1]:
            warn(
                f"values of {na_probs} outside [0, 1]: {some(wide)}; as the official evaluation "
                "does, a prediction with one above 1 counts as no answer"
            )
    return evaluation


def show(settings: SquadReportConfig, evaluation: Evaluation) -> None:
    """Print the figures as JSON."""
    print(json.dumps(evaluation.figures, indent=2))


def _read_object(path: Path, key: str, value: str, must: str, legal: Callable[[Any], bool]) -> Any:
    """Read a JSON object whose keys are ids of questions, and whose values are legal."""
    expected = f"a JSON object, question id -> {value},"
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise UserError(f"{key}={path} must be {expected} got {type(content).__name__}")
    for id, each in content.items():
        if not legal(each):
            raise UserError(f"{key}={path}: {id!r} must have {must}, got {json.dumps(each)[:80]}")
    return content


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN compares false with everything; so large an integer would be no float
    return number and abs(value) <= sys.float_info.max


def warn(message: str) -> None:
    """Print one line on stderr: stdout holds the figures alone."""
    print(f"warning: {message}", file=sys.stderr, flush=True)
