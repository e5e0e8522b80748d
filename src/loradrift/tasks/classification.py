"""Sentence classification with a linear head (GLUE)."""

# Shape suffixes: B rows, C classes.

from typing import NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryF1Score

from loradrift.config import OptimConfig
from loradrift.data import Batch
from loradrift.models import Backbone, Classifier
from loradrift.tasks.base import Task


class Prediction(NamedTuple):
    """One evaluated row: its number in the table, the label chosen, the probability of label 1."""

    row: int
    label: int
    score: float


class ClassificationTask(Task):
    """Cross-entropy on the head's logits; accuracy and F1 (of label 1) for validation and test.

    Args:
        model: Maps ``input_ids`` and ``attention_mask`` to logits (B, C).
        optim: Optimizer settings of the chosen method.
        total_steps: Optimizer steps of the whole run.
    """

    def __init__(self, model: Classifier, optim: OptimConfig, total_steps: int) -> None:
        super().__init__(optim, total_steps)
        self.model = model
        scores = {"accuracy": BinaryAccuracy(), "f1": BinaryF1Score(), "loss": MeanMetric()}
        self.validation = MetricCollection(dict(scores), prefix="validation/")
        self.evaluation = self.validation.clone(prefix="evaluation/")
        self.predictions: list[Prediction] = []

    @property
    def backbone(self) -> Backbone:
        """The transformer below the head."""
        backbone: Backbone = self.model.backbone  # type: ignore[assignment]
        return backbone

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
        self.predictions.clear()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the evaluation scores and keep the predictions."""
        probability_B, label_B = self._score(batch, self.evaluation)
        rows = zip(batch["index"].tolist(), label_B.tolist(), probability_B.tolist(), strict=True)
        self.predictions += [Prediction(*row) for row in rows]

    def on_test_epoch_end(self) -> None:
        """Log the evaluation scores; bring all processes' predictions together, in row order."""
        self._log_scores(self.evaluation)
        if torch.distributed.is_initialized():
            parts: list[list[Prediction]] = [[]] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self.predictions)
            self.predictions = [prediction for part in parts for prediction in part]
        self.predictions.sort()

    def _score(self, batch: Batch, metrics: MetricCollection) -> tuple[Tensor, Tensor]:
        logits_BC = self.model(batch["input_ids"], batch["attention_mask"]).float()
        label_B = logits_BC.argmax(1)
        losses_B = F.cross_entropy(logits_BC, batch["labels"], reduction="none")
        for name in ("accuracy", "f1"):
            metrics[name].update(label_B, batch["labels"])
        metrics["loss"].update(losses_B)
        return logits_BC.softmax(1)[:, 1], label_B

    def _log_scores(self, metrics: MetricCollection) -> None:
        self.log_at_step(metrics.compute())
        metrics.reset()
