"""Sentence classification with a linear head (GLUE)."""

# Shape suffixes: B rows, C classes.

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassF1Score,
)

from loradrift.config import OptimConfig
from loradrift.data import Batch, Rows
from loradrift.models import Classifier
from loradrift.tasks.base import Task


class Prediction(NamedTuple):
    """One evaluated row: its number in the table, the label chosen, each label's probability."""

    row: int
    label: int
    probabilities: Sequence[float]


def label_scores(num_classes: int) -> dict[str, Metric]:
    """Accuracy, and F1: of label 1 where there are two labels, else the mean over labels."""
    if num_classes == 2:
        return {"accuracy": BinaryAccuracy(), "f1": BinaryF1Score()}
    return {
        "accuracy": MulticlassAccuracy(num_classes, average="micro"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
    }


def prediction_line(
    id: str, label: int, chosen: int, probabilities: Sequence[float]
) -> dict[str, Any]:
    """A row of ``predictions.jsonl``: of two labels the second's probability, else each one's."""
    score = probabilities[1] if len(probabilities) == 2 else list(probabilities)
    return {"id": id, "label": label, "prediction": chosen, "score": score}


class ClassificationTask(Task):
    """Cross-entropy on the head's logits; accuracy and F1 for validation and test.

    Args:
        model: Maps ``input_ids`` and ``attention_mask`` to logits (B, C).
        optim: Optimizer settings of the chosen method.
        total_steps: Optimizer steps of the whole run.
    """

    def __init__(self, model: Classifier, optim: OptimConfig, total_steps: int = 1) -> None:
        super().__init__(model, optim, total_steps)
        scores: dict[str, Any] = {**label_scores(model.head.out_features), "loss": MeanMetric()}
        self.validation = MetricCollection(scores, prefix="validation/")
        self.evaluation = self.validation.clone(prefix="evaluation/")
        self.tested: list[Prediction] = []

    def predictions(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """Each row with its label, the predicted one, and its probability."""
        for number, chosen, probabilities in self.tested:
            label = int(rows.labels[number])
            yield prediction_line(rows.ids[number], label, chosen, probabilities)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch."""
        logits_BC = self.model(batch["input_ids"], batch["attention_mask"])
        loss = F.cross_entropy(logits_BC.float(), batch["labels"])
        self.log_training(loss, batch_idx)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation scores."""
        self._score(batch, self.validation)

    def on_validation_epoch_end(self) -> None:
        """Log the validation scores."""
        self._log_scores(self.validation)

    def on_test_start(self) -> None:
        """Forget earlier predictions."""
        self.tested.clear()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the evaluation scores and keep the predictions."""
        probabilities_BC, label_B = self._score(batch, self.evaluation)
        columns = (batch["index"], label_B, probabilities_BC)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.tested += [Prediction(*row) for row in rows]

    def on_test_epoch_end(self) -> None:
        """Log the evaluation scores; bring all processes' predictions together, in row order."""
        self._log_scores(self.evaluation)
        if torch.distributed.is_initialized():
            parts: list[list[Prediction]] = [[]] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self.tested)
            self.tested = [prediction for part in parts for prediction in part]
        self.tested.sort()

    def _score(self, batch: Batch, metrics: MetricCollection) -> tuple[Tensor, Tensor]:
        logits_BC = self.model(batch["input_ids"], batch["attention_mask"]).float()
        label_B = logits_BC.argmax(1)
        losses_B = F.cross_entropy(logits_BC, batch["labels"], reduction="none")
        for name in ("accuracy", "f1"):
            metrics[name].update(label_B, batch["labels"])
        metrics["loss"].update(losses_B)
        return logits_BC.softmax(1), label_B

    def _log_scores(self, metrics: MetricCollection) -> None:
        self.log_at_step(metrics.compute())
        metrics.reset()
