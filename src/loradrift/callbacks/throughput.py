"""Tokens per second of the training steps alone."""

import math
import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from loradrift.stopwatch import Seconds


class Throughput(Callback):
    """Count real tokens, and the time between the start and end of each micro-batch.

    Validation, dumps and checkpoints happen outside of that time. ``tokens`` (without padding) and
    ``seconds`` are sums over the whole run, across resumes, of this process.

    Args:
        began: When this process began its part of the run.
    """

    def __init__(self, began: Seconds) -> None:
        self.tokens = 0
        self.seconds = 0.0
        self.earlier = Seconds()
        """What the interrupted processes before this one took, up to the checkpoint it took."""

        self._process_began = began
        self._began = 0.0

    def figures(self, world_size: int) -> dict[str, float]:
        """What the run's record keeps, for ``world_size`` processes like this one."""
        tokens_per_s = self.tokens / self.seconds if self.seconds else 0.0
        taken = self._taken
        figures = {
            "wall_time_s": taken.wall,
            "cpu_time_s": taken.cpu,
            "train_time_s": self.seconds,
            "tokens_per_s": tokens_per_s * world_size,
        }
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    @property
    def _taken(self) -> Seconds:
        return self.earlier + Seconds.now() - self._process_began

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        """Start the clock."""
        self._synchronize(pl_module)
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        """Stop the clock and count."""
        self._synchronize(pl_module)
        self.seconds += time.perf_counter() - self._began
        self.tokens += int(batch["attention_mask"].sum())

    def _synchronize(self, module: LightningModule) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        sums = {"tokens": self.tokens, "seconds": self.seconds}
        return sums | {"wall_seconds": self._taken.wall, "cpu_seconds": self._taken.cpu}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.tokens, self.seconds = state_dict["tokens"], state_dict["seconds"]
        # NaN, which figures leave out: a checkpoint of an earlier version has no CPU seconds
        self.earlier = Seconds(state_dict["wall_seconds"], state_dict.get("cpu_seconds", math.nan))
