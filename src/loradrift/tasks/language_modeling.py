"""Next-token prediction, on running text or on the answer to a prompt."""

# Shape suffixes: B rows, T tokens, V vocabulary.

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric

from loradrift.config import OptimConfig
from loradrift.data import Batch
from loradrift.models import Backbone
from loradrift.tasks.base import Task


class LanguageModelingTask(Task):
    """Mean cross-entropy of each target token given those before it, in nats.

    A row's label is the place of its target's first token, 0 in running text.

    Args:
        model: A causal language model.
        optim: Optimizer settings.
        total_steps: Optimizer steps of the whole run.
    """

    def __init__(self, model: Backbone, optim: OptimConfig, total_steps: int = 1) -> None:
        super().__init__(model, optim, total_steps)
        self.validation = MeanMetric()
        self.evaluation = MeanMetric()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch."""
        loss = self._loss(batch)
        self.log_training(loss, batch_idx)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation loss."""
        self.validation.update(self._loss(batch), target_mask(batch)[:, 1:].sum())

    def on_validation_epoch_end(self) -> None:
        """Log the validation loss."""
        self.log_at_step({"validation/loss": self.validation.compute()})
        self.validation.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the evaluation loss."""
        self.evaluation.update(self._loss(batch), target_mask(batch)[:, 1:].sum())

    def on_test_epoch_end(self) -> None:
        """Log the evaluation loss."""
        self.log_at_step({"evaluation/loss": self.evaluation.compute()})
        self.evaluation.reset()

    def _loss(self, batch: Batch) -> Tensor:
        hidden_BTD = self.backbone.encode(batch["input_ids"])
        # logits at t predict token t + 1
        logits_BTV = self.backbone.next_token_logits(hidden_BTD[:, :-1])
        targets_BT = batch["input_ids"][:, 1:].masked_fill(~target_mask(batch)[:, 1:], -100)
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())


def target_mask(batch: Batch) -> Tensor:
    """Which tokens (B, T) count in the loss: the target's own."""
    mask_BT = batch["attention_mask"]
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return mask_BT & (places_T >= batch["labels"][:, None])
