"""The end of a sanity check: its rows are learned."""

import math
from collections import deque
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class StopWhenOverfit(Callback):
    """Stop as soon as the loss proves that the accuracy on the training rows is reached.

    A wrong row costs at least ln 2, or half of that where a loss is the mean of two. So if the mean
    loss of a pass over the rows, of so many micro-batches, is below ``(1 - accuracy) ln 2 / 2``,
    too few of them are wrong.
    """

    def __init__(self, accuracy: float, batches: int) -> None:
        self.bound = (1 - accuracy) * math.log(2) / 2
        self._losses: deque[float] = deque(maxlen=batches)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a run as it is that was interrupted after its last step."""
        self._stop_if_proven(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take up the loss of a micro-batch; stop between two steps."""
        accumulate = trainer.accumulate_grad_batches
        # the loss is divided by the micro-batches of a step
        self._losses.append(float(outputs["loss"]) * accumulate)
        if (batch_idx + 1) % accumulate == 0:
            self._stop_if_proven(trainer)

    def _stop_if_proven(self, trainer: Trainer) -> None:
        whole = len(self._losses) == self._losses.maxlen
        if whole and sum(self._losses) < self.bound * len(self._losses):
            trainer.should_stop = True  # Lightning validates before it does

    def state_dict(self) -> dict[str, Any]:
        """The losses of the last pass."""
        return {"losses": list(self._losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the losses of the interrupted run."""
        self._losses.extend(state_dict["losses"])
