"""The end of a sanity check: its rows are learned."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from loradrift.data import Batch
from loradrift.models.hooks import eval_mode


class StopWhenOverfit(Callback):
    """Stop as soon as the loss proves that the accuracy on the training rows is reached.

    A wrong row costs at least ln 2, or half of that where a loss is the mean of two. So if the mean
    loss over the rows is below ``(1 - accuracy) ln 2 / 2``, too few of them are wrong. The losses
    of the last pass are of weights that have changed since, and of most rows only: where they fall
    below the bound, all rows are measured with the present weights, and these decide.

    Args:
        accuracy: The share of rows that must be right.
        batches: Micro-batches of a pass.
        rows: All training rows.
    """

    def __init__(self, accuracy: float, batches: int, rows: Iterable[Batch]) -> None:
        self.bound = (1 - accuracy) * math.log(2) / 2
        self.rows = rows
        self._losses: deque[float] = deque(maxlen=batches)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a run as it is that was interrupted after its last step."""
        self._stop_if_proven(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take up the loss of a micro-batch; stop between two steps."""
        accumulate = trainer.accumulate_grad_batches
        # the loss is divided by the micro-batches of a step
        self._losses.append(float(outputs["loss"]) * accumulate)
        if (batch_idx + 1) % accumulate == 0:
            self._stop_if_proven(trainer, pl_module)

    def _stop_if_proven(self, trainer: Trainer, task: LightningModule) -> None:
        whole = len(self._losses) == self._losses.maxlen
        low = whole and sum(self._losses) < self.bound * len(self._losses)
        if low and self._mean_loss(trainer, task) < self.bound:
            trainer.should_stop = True  # Lightning validates before it does

    @torch.no_grad()
    def _mean_loss(self, trainer: Trainer, task: Any) -> float:
        """The mean over all rows with the weights as they are."""
        total = count = 0.0
        with eval_mode(task), trainer.precision_plugin.forward_context():
            for batch in self.rows:
                here = trainer.strategy.batch_to_device(batch)
                total += float(task.loss(here)) * len(batch["labels"])
                count += len(batch["labels"])
        return total / count

    def state_dict(self) -> dict[str, Any]:
        """The losses of the last pass."""
        return {"losses": list(self._losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the losses of the interrupted run."""
        self._losses.extend(state_dict["losses"])
