"""Faults that would otherwise train on in silence."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from loradrift.config import UserError
from loradrift.models import trainable_parameters
from loradrift.runs.record import NOT_FINITE


class TrainingFault(UserError):
    """The training went wrong in a way that more steps cannot fix."""


class FiniteLoss(Callback):
    """Stop at the first loss that is NaN or infinite, before it reaches the weights."""

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        """Check the loss of one micro-batch."""
        if not torch.isfinite(loss):
            raise TrainingFault(
                f"{NOT_FINITE} {loss.item()} at step {trainer.global_step}: lower "
                f"method.optim.lr, raise method.optim.warmup_ratio, or look at the data"
            )


class GradientCheck(Callback):
    """Fail if a parameter that should train received no gradient in the first steps.

    This catches an adapter that never learns: one whose inputs carry no gradient, or that is not
    on the forward path. The first step alone cannot tell, because LoRA's A has a zero gradient
    while B is zero.
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._silent: list[str] | None = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Strike off the parameters whose gradient is not zero."""
        step = trainer.global_step
        if step >= self.num_steps or self._silent == []:
            return
        parameters = trainable_parameters(pl_module)
        # in one order everywhere: of a sharded gradient all processes have to ask together
        silent = list(parameters) if self._silent is None else self._silent
        gradients = {name: parameters[name].grad for name in silent}
        self._silent = [name for name, grad in gradients.items() if grad is None or not grad.any()]
        if step == self.num_steps - 1 and self._silent:
            names = sorted(self._silent)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise TrainingFault(
                f"{len(names)} parameters that should train received no gradient in the first "
                f"{self.num_steps} steps: {', '.join(names[:5])}{more}"
            )

    def state_dict(self) -> dict[str, Any]:
        """What is still silent, so that a resumed run judges as an uninterrupted one."""
        return {"silent": self._silent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the interrupted run left off."""
        self._silent = state_dict["silent"]
