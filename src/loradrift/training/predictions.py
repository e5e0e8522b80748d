"""What a run said of each evaluation example, in our format and in SQuAD's own."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loradrift.data import Question, Rows, Windows
from loradrift.files import write_atomic, write_json
from loradrift.tasks import ClassificationTask, QuestionAnsweringTask, Task


def write_predictions(folder: Path, task: Task, table: Rows) -> None:
    """Write what the task's last test found; nothing for a task that predicts nothing.

    Args:
        folder: Of the run.
        task: After its test.
        table: The rows that were tested.
    """
    if isinstance(task, ClassificationTask):
        rows = (
            {
                "id": table.ids[prediction.row],
                "label": int(table.labels[prediction.row]),
                "prediction": prediction.label,
                "score": prediction.score,
            }
            for prediction in task.predictions
        )
        write_rows(folder / "predictions.jsonl", rows)
    if isinstance(task, QuestionAnsweringTask):
        assert isinstance(table, Windows)
        readings = task.readings
        write_answers(
            folder,
            table.questions,
            answers={name: task.answer(reading) for name, reading in readings.items()},
            spans={name: reading.answer for name, reading in readings.items()},
            unanswerable={name: reading.unanswerable for name, reading in readings.items()},
        )
        best = {
            name: [{"text": text, "log_probability": score} for text, score in reading.best]
            for name, reading in readings.items()
        }
        write_json(folder / "nbest_predictions.json", best)


def write_answers(
    folder: Path,
    questions: Iterable[Question],
    *,
    answers: Mapping[str, str],
    spans: Mapping[str, str],
    unanswerable: Mapping[str, float],
) -> None:
    """Write ``predictions.jsonl`` and the files that SQuAD's own evaluation reads.

    Args:
        folder: Of the run.
        questions: The evaluation split.
        answers: Question id -> answer, "" where it counts as unanswerable (``predictions.json``).
        spans: Question id -> the best span in any case (``best_spans.json``): with
            ``na_prob.json`` they give the official best-threshold figures.
        unanswerable: Question id -> probability that it is unanswerable (``na_prob.json``).
    """
    write_rows(
        folder / "predictions.jsonl",
        (
            {
                "id": question.id,
                "label": [answer.text for answer in question.answers],
                "prediction": answers[question.id],
                "score": unanswerable[question.id],
            }
            for question in questions
        ),
    )
    write_json(folder / "predictions.json", dict(answers))
    write_json(folder / "best_spans.json", dict(spans))
    write_json(folder / "na_prob.json", dict(unanswerable))


def write_lossy(folder: Path, lossy: Mapping[str, Sequence[str]]) -> None:
    """List the questions whose gold answer is lost on the way to tokens; no file if none is.

    Args:
        folder: Of the run.
        lossy: Their ids by split.
    """
    if lossy:
        write_json(folder / "lossy_answers.json", dict(lossy))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with write_atomic(path) as temporary:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        temporary.write_text(text, encoding="utf-8")
