"""The bar a user watches, or lines where nobody can watch one."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from loradrift.progress import Tenths


class StepProgress(RichProgressBar):
    """Lightning's bar in our words: a run has steps and one pass, so no epoch and no version."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The loss alone."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name == "train/loss"}

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"


class ProgressLines(Callback):
    """A line after each tenth of the run's optimizer steps, with the time that is left."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time runs from here, also in a resumed run."""
        self._tenths = Tenths("step", self.total_steps, done=trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Say how far it is, once for each tenth."""
        if trainer.is_global_zero:
            self._tenths.reach(trainer.global_step)
