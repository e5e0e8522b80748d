"""The trained weights with the best validation metric."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class BestCheckpoint(Callback):
    """Keep the weights of the best validation so far; of equal ones the first.

    Lightning's own forgets its best score when a run resumes from another folder. The run's
    ``last_step`` is validated whatever the interval.
    """

    def __init__(self, path: Path, metric: str, *, higher_is_better: bool, last_step: int) -> None:
        self.path = path
        self.last_step = last_step
        self.metric = metric
        self.higher_is_better = higher_is_better
        self._best: float | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Ask for a validation at the end: Lightning validates before it stops."""
        if trainer.global_step == self.last_step:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if this validation beats the best one."""
        score = float(trainer.callback_metrics[self.metric])
        sign = 1 if self.higher_is_better else -1
        if self._best is None or sign * score > sign * self._best:
            self._best = score
            trainer.save_checkpoint(self.path, weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """The score to beat."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the score of the interrupted run."""
        self._best = state_dict["best"]
