"""The bar a user watches."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar


class StepProgress(RichProgressBar):
    """Lightning's bar in our words: a run has steps and one pass, so no epoch and no version."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The loss alone."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name == "train/loss"}

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"
