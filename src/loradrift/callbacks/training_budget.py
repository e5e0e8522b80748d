"""How many rows and tokens a training has seen."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class TrainingBudget(Callback):
    """Count the rows and real tokens of the optimizer steps, over all processes and resumes.

    Micro-batches that no step followed are not counted. A run that goes on from a checkpoint
    without these counts has none.

    Args:
        rows_per_epoch: Training rows of the run.
    """

    def __init__(self, rows_per_epoch: int) -> None:
        self.rows_per_epoch = rows_per_epoch
        self.seen = [0, 0]
        """Rows and tokens."""

        self._waiting = [0, 0]  # for their optimizer step
        self._step = 0
        self._whole = True

    def figures(self) -> dict[str, float]:
        """What the run's record keeps; nothing where the count is not of the whole run."""
        rows, tokens = self.seen
        if not rows:
            return {}
        epochs = rows / self.rows_per_epoch
        return {"rows_seen": rows, "tokens_seen": tokens, "epochs": epochs}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from the step of the checkpoint."""
        self._step = trainer.global_step
        self._whole = not self._step or any(self.seen)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        """Count a micro-batch, and at an optimizer step those since the last."""
        mask_BT = batch["attention_mask"]
        counts = torch.stack([torch.tensor(len(mask_BT), device=mask_BT.device), mask_BT.sum()])
        everywhere = trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        self._waiting = [sum(pair) for pair in zip(self._waiting, everywhere, strict=True)]
        if trainer.global_step > self._step:
            self._step = trainer.global_step
            if self._whole:
                self.seen = [sum(pair) for pair in zip(self.seen, self._waiting, strict=True)]
            self._waiting = [0, 0]

    def state_dict(self) -> dict[str, Any]:
        """The counts so far."""
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seen = state_dict["seen"]
