"""Extractive question answering with unanswerable questions (SQuAD v2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor
from torchmetrics import MeanMetric

from loradrift.config import OptimConfig
from loradrift.data import Batch, Question, Rows, Windows, evaluate_squad
from loradrift.models import SpanModel
from loradrift.tasks.base import Task, gathered
from loradrift.tasks.squad_v2.spans import (
    QuestionPrediction,
    WindowSpans,
    find_spans,
    read_answers,
    window_losses,
)

if TYPE_CHECKING:
    from loradrift.tasks.squad_v2 import SquadConfig


class QuestionAnsweringTask(Task):
    """Span and answerability losses; official SQuAD v2 figures for validation and test.

    The probability above which a question counts as unanswerable is the best one on the validation
    rows. It is chosen at each validation, and used at the next test.
    """

    def __init__(
        self, model: SpanModel, config: SquadConfig, optim: OptimConfig, total_steps: int = 1
    ) -> None:
        super().__init__(model, optim, total_steps)
        self.config = config
        self.threshold: float | None = None
        self.readings: dict[str, QuestionPrediction] = {}
        """Question id -> what the last test found."""

        self._mean_loss = MeanMetric()
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
        readings = self.readings.items()
        files = official_files(
            answers={name: self.answer(reading) for name, reading in readings},
            spans={name: reading.answer for name, reading in readings},
            unanswerable={name: reading.unanswerable for name, reading in readings},
        )
        nbest = {
            name: [{"text": text, "log_probability": score} for text, score in reading.best]
            for name, reading in readings
        }
        return files | {"nbest_predictions.json": nbest}

    def take_over(self, metrics: Mapping[str, float | None]) -> None:
        """Take the threshold that the head's own run has chosen."""
        self.threshold = metrics["validation/threshold"]

    def train_accuracy(self, figures: Mapping[str, float]) -> float:
        """Share of the questions that are answered exactly, or rightly left unanswered."""
        return figures["validation/exact"]

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the windows."""
        logits = self.model(batch["input_ids"], batch["attention_mask"])
        return window_losses(logits, batch, self.config.answerability_weight).mean()

    def observe(self, batch: Batch) -> None:
        """Keep what the windows say."""
        logits = self.model(batch["input_ids"], batch["attention_mask"])
        self._mean_loss.update(window_losses(logits, batch, self.config.answerability_weight))
        self._found += find_spans(
            logits, batch, num_best=self.config.num_best, max_answer=self.config.max_answer
        )

    def figures(self, split: str) -> dict[str, float]:
        """Official figures at the threshold, which the validation rows choose.

        Of the evaluation rows also the best ones of any threshold, which is tuned on these rows.
        """
        validating = split == "validation"
        loader = self.trainer.val_dataloaders if validating else self.trainer.test_dataloaders
        table: Windows = loader.table  # type: ignore[union-attr]
        readings = read_answers(gathered(self._found), table, self.config.num_best)
        self._found.clear()
        spans = {name: reading.answer for name, reading in readings.items()}
        unanswerable = {name: reading.unanswerable for name, reading in readings.items()}
        official = partial(evaluate_squad, table.questions, spans, unanswerable)
        if validating:
            self.threshold = official().figures[f"best_{self.config.metric}_thresh"]
        else:
            self.readings = readings
        assert self.threshold is not None
        figures = official(self.threshold).figures
        if validating:
            more = {"threshold": self.threshold}
        else:
            best = ("best_exact", "best_f1")
            more = {f"{name}_tuned_on_these_rows": figures[name] / 100 for name in best}
        loss = float(self._mean_loss.compute())
        self._mean_loss.reset()
        return shares(figures) | more | {"loss": loss}

    def on_test_start(self) -> None:
        """Refuse to report figures without a threshold that was chosen elsewhere."""
        assert self.threshold is not None, "validate before testing: it chooses the threshold"


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
    """Name -> JSON of the files that SQuAD's own evaluation reads; the arguments are by question.

    An answer is "" where its question counts as unanswerable; its span is the best one in any case,
    and gives the official best-threshold figures with ``na_prob.json``.
    """
    names = ("predictions.json", "best_spans.json", "na_prob.json")
    return dict(zip(names, map(dict, (answers, spans, unanswerable)), strict=True))
