"""Sentence classification with a linear head (GLUE)."""

# Shape suffixes: B rows, C classes.

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection, classification

from loradrift.config import OptimConfig
from loradrift.data import Batch, Rows
from loradrift.models import Classifier
from loradrift.tasks.base import Task, gathered


class Prediction(NamedTuple):
    """One evaluated row: its number in the table, the label chosen, each label's probability."""

    row: int
    label: int
    probabilities: Sequence[float]


def label_scores(num_classes: int) -> dict[str, Metric]:
    """Accuracy, and F1: of label 1 where there are two labels, else the mean over labels."""
    if num_classes == 2:
        return {"accuracy": classification.BinaryAccuracy(), "f1": classification.BinaryF1Score()}
    return {
        "accuracy": classification.MulticlassAccuracy(num_classes, average="micro"),
        "f1": classification.MulticlassF1Score(num_classes, average="macro"),
    }


def prediction_line(
    id: str, label: int, chosen: int, probabilities: Sequence[float]
) -> dict[str, Any]:
    """A row of ``predictions.jsonl``: of two labels the second's probability, else each one's."""
    score = probabilities[1] if len(probabilities) == 2 else list(probabilities)
    return {"id": id, "label": label, "prediction": chosen, "score": score}


class ClassificationTask(Task):
    """Cross-entropy on the head's logits; accuracy and F1 for validation and test."""

    def __init__(self, model: Classifier, optim: OptimConfig, total_steps: int = 1) -> None:
        super().__init__(model, optim, total_steps)
        scores: dict[str, Any] = {**label_scores(model.head.out_features), "loss": MeanMetric()}
        self.scores = MetricCollection(scores)
        self.tested: list[Prediction] = []

    def predictions(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """Each row with its label, the predicted one, and its probability."""
        for number, chosen, probabilities in self.tested:
            label = int(rows.labels[number])
            yield prediction_line(rows.ids[number], label, chosen, probabilities)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy."""
        logits_BC = self.model(batch["input_ids"], batch["attention_mask"])
        return F.cross_entropy(logits_BC.float(), batch["labels"])

    def observe(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Update the scores; gives the labels chosen (B,) and all labels' probabilities (B, C)."""
        logits_BC = self.model(batch["input_ids"], batch["attention_mask"]).float()
        label_B = logits_BC.argmax(1)
        losses_B = F.cross_entropy(logits_BC, batch["labels"], reduction="none")
        for name in ("accuracy", "f1"):
            self.scores[name].update(label_B, batch["labels"])
        self.scores["loss"].update(losses_B)
        return label_B, logits_BC.softmax(1)

    def figures(self, split: str) -> dict[str, Tensor]:
        """Accuracy, F1 and mean loss."""
        figures: dict[str, Tensor] = self.scores.compute()
        self.scores.reset()
        return figures

    def on_test_start(self) -> None:
        """Forget earlier predictions."""
        self.tested.clear()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Observe evaluation rows and keep the predictions."""
        columns = (batch["index"], *self.observe(batch))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.tested += [Prediction(*row) for row in rows]

    def on_test_epoch_end(self) -> None:
        """Log the figures; bring all processes' predictions together, in row order."""
        super().on_test_epoch_end()
        self.tested = sorted(gathered(self.tested))
