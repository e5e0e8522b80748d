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
    """

    def __init__(self, model: Backbone, optim: OptimConfig, total_steps: int = 1) -> None:
        super().__init__(model, optim, total_steps)
        self.mean_loss = MeanMetric()

    def observe(self, batch: Batch) -> None:
        """Update the mean loss."""
        self.mean_loss.update(self.loss(batch), target_mask(batch)[:, 1:].sum())

    def figures(self, split: str) -> dict[str, Tensor]:
        """The mean loss."""
        loss = self.mean_loss.compute()
        self.mean_loss.reset()
        return {"loss": loss}

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the batch's target tokens."""
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
