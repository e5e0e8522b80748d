"""Randomness of each micro-batch as a pure function of (seed, position, process)."""

from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class StepSeeding(Callback):
    """Seed torch before every micro-batch.

    Dropout is then the same whatever ran in between (an evaluation, a dump, a resume), with no
    generator state to save.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the micro-batch's own seed."""
        entropy = np.random.SeedSequence([self.seed, batch_idx, trainer.global_rank])
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
