"""Extractive question answering with unanswerable questions (SQuAD v2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch.distributed
from torch import Tensor
from torchmetrics import MeanMetric

from loradrift.config import OptimConfig
from loradrift.data import Batch, Question, Rows, Windows, evaluate_squad
from loradrift.models import SpanModel
from loradrift.tasks.base import Task
from loradrift.tasks.squad_v2.spans import (
    QuestionPrediction,
    WindowSpans,
    find_spans,
    read_answers,
    window_losses,
)

if TYPE_CHECKING:
    from loradrift.tasks.squad_v2 import SquadConfig

TUNED = ("best_exact", "best_f1")
"""Official figures with a threshold chosen on the very rows that they are of."""


class QuestionAnsweringTask(Task):
    """Span and answerability losses; official SQuAD v2 figures for validation and test.

    The probability above which a question counts as unanswerable is the best one on the validation
    rows. It is chosen at each validation, and used at the next test.

    Args:
        model: Maps ``input_ids`` and ``attention_mask`` to start, end and answerability logits.
        config: Answers and their threshold.
        optim: Optimizer settings of the chosen method.
        total_steps: Optimizer steps of the whole run.
    """

    def __init__(
        self, model: SpanModel, config: SquadConfig, optim: OptimConfig, total_steps: int = 1
    ) -> None:
        super().__init__(model, optim, total_steps)
        self.config = config
        self.threshold: float | None = None
        self.readings: dict[str, QuestionPrediction] = {}
        """Question id -> what the last test found."""

        self._loss = MeanMetric()
        self._found: list[WindowSpans] = []

    def answer(self, reading: QuestionPrediction) -> str:
        """The answer that a reading comes to; empty if the question counts as unanswerable."""
        assert self.threshold is not None
        return reading.answer if reading.unanswerable <= self.threshold else ""

    def predictions(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """Each question with its gold answers, the answer given, and the probability of none."""
        for question in cast(Windows, rows).questions:
            reading = self.readings[question.id]
            yield answer_line(question, self.answer(reading), reading.unanswerable)

    def prediction_files(self, rows: Rows) -> dict[str, Any]:
        """What SQuAD's own evaluation reads, and the best spans with their log-probabilities."""
        readings = self.readings
        return official_files(
            answers={name: self.answer(reading) for name, reading in readings.items()},
            spans={name: reading.answer for name, reading in readings.items()},
            unanswerable={name: reading.unanswerable for name, reading in readings.items()},
        ) | {
            "nbest_predictions.json": {
                name: [{"text": text, "log_probability": score} for text, score in reading.best]
                for name, reading in readings.items()
            }
        }

    def train_accuracy(self, figures: Mapping[str, float]) -> float:
        """Share of the questions that are answered exactly, or rightly left unanswered."""
        return figures["validation/exact"]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch."""
        logits = self.model(batch["input_ids"], batch["attention_mask"])
        loss = window_losses(logits, batch, self.config.answerability_weight).mean()
        self.log_training(loss, batch_idx)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what the windows say."""
        self._read(batch)

    def on_validation_epoch_end(self) -> None:
        """Choose the threshold, and log the figures that it gives."""
        table: Windows = self.trainer.val_dataloaders.table  # type: ignore[union-attr]
        readings = self._finish(table)
        self.threshold = _figures(table, readings, 1.0)[f"best_{self.config.metric}_thresh"]
        figures = _figures(table, readings, self.threshold)
        self._log("validation", shares(figures), {"threshold": self.threshold})

    def on_test_start(self) -> None:
        """Refuse to report figures without a threshold that was chosen elsewhere."""
        assert self.threshold is not None, "validate before testing: it chooses the threshold"

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what the windows say."""
        self._read(batch)

    def on_test_epoch_end(self) -> None:
        """Log the figures at the validation rows' threshold, and beside them the best ones."""
        table: Windows = self.trainer.test_dataloaders.table  # type: ignore[union-attr]
        self.readings = self._finish(table)
        assert self.threshold is not None
        figures = _figures(table, self.readings, self.threshold)
        tuned = {f"{name}_tuned_on_these_rows": figures[name] / 100 for name in TUNED}
        self._log("evaluation", shares(figures), tuned)

    def _read(self, batch: Batch) -> None:
        logits = self.model(batch["input_ids"], batch["attention_mask"])
        self._loss.update(window_losses(logits, batch, self.config.answerability_weight))
        self._found += find_spans(
            logits, batch, num_best=self.config.num_best, max_answer=self.config.max_answer
        )

    def _finish(self, table: Windows) -> dict[str, QuestionPrediction]:
        """The answers of all processes' windows."""
        found, self._found = self._found, []
        if torch.distributed.is_initialized():
            parts: list[list[WindowSpans]] = [[]] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, found)
            found = [each for part in parts for each in part]
        return read_answers(found, table, self.config.num_best)

    def _log(self, split: str, figures: dict[str, float], more: dict[str, float]) -> None:
        values = figures | more | {"loss": float(self._loss.compute())}
        self._loss.reset()
        self.log_at_step({f"{split}/{name}": value for name, value in values.items()})


def shares(figures: Mapping[str, float]) -> dict[str, float]:
    """Official figures as shares, like every task's, without the counts and the tuned ones."""
    return {
        name: value / 100
        for name, value in figures.items()
        if not name.startswith("best_") and not name.endswith("total")
    }


def answer_line(question: Question, answer: str, unanswerable: float) -> dict[str, Any]:
    """A row of ``predictions.jsonl``; the answer is "" where there is held to be none."""
    label = [gold.text for gold in question.answers]
    return {"id": question.id, "label": label, "prediction": answer, "score": unanswerable}


def official_files(
    answers: Mapping[str, str], spans: Mapping[str, str], unanswerable: Mapping[str, float]
) -> dict[str, Any]:
    """Name -> JSON of the files that SQuAD's own evaluation reads.

    Args:
        answers: Question id -> answer, "" where it counts as unanswerable.
        spans: Question id -> the best span in any case: with ``na_prob.json`` they give the
            official best-threshold figures.
        unanswerable: Question id -> probability that it is unanswerable.
    """
    return {
        "predictions.json": dict(answers),
        "best_spans.json": dict(spans),
        "na_prob.json": dict(unanswerable),
    }


def _figures(
    table: Windows, readings: dict[str, QuestionPrediction], threshold: float
) -> dict[str, float]:
    """Official figures, in percent, where questions above the threshold get no answer."""
    figures: dict[str, float] = evaluate_squad(
        table.questions,
        {name: reading.answer for name, reading in readings.items()},
        {name: reading.unanswerable for name, reading in readings.items()},
        threshold,
    ).figures
    return figures
