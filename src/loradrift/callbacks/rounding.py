"""The same run but for its rounding: what a difference in the last bit grows into."""

from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from loradrift.models import trainable_parameters


class Rounding(Callback):
    """Move every trainable weight to a neighbouring number, once, before the first step.

    Comes after the callbacks that look at step 0 or save it: step 0 stays the base model, and a
    checkpoint of it holds weights that have not moved yet.

    Args:
        seed: The run's own.
        number: Which of the draws, from 1 on.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.entropy = np.random.SeedSequence([seed, number])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Move the weights at the run's first micro-batch; a resumed run is past it."""
        if trainer.global_step == 0 and batch_idx == 0:
            drawn = int(self.entropy.generate_state(1, np.uint64)[0] >> 1)
            move_last_bits(pl_module, torch.Generator().manual_seed(drawn))


@torch.no_grad()
def move_last_bits(module: nn.Module, generator: torch.Generator) -> None:
    """Move each trainable weight to the next number up or down, as drawn; zeros stay zero.

    Of sharded weights each process moves its part, as one device would.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()  # a copy gathered for an evaluation would hide what changes here
    for weights in trainable_parameters(module).values():
        up = torch.empty(weights.shape, dtype=torch.bool).bernoulli_(generator=generator)
        own: torch.Tensor = weights
        if isinstance(weights, DTensor):
            up = up.to(weights.device)
            up = distribute_tensor(up, weights.device_mesh, weights.placements, src_data_rank=None)
            up, own = up.to_local(), weights.to_local()
        bounds = torch.where(up.to(own.device), torch.inf, -torch.inf).to(own.dtype)
        own.copy_(torch.where(own == 0, own, torch.nextafter(own, bounds)))
