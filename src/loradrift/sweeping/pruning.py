"""Lightning's hook: each validation is reported to the trial, which may end there."""

from typing import TYPE_CHECKING

import pytorch_lightning as pl

if TYPE_CHECKING:  # Optuna is loaded for trials alone
    from loradrift.sweeping.reporting import Reporter


class Pruned(Exception):
    """A trial was ended early, by the ``metrics`` reported last; the storage knows."""

    def __init__(self, step: int, metric: str, value: float) -> None:
        super().__init__(f"pruned at step {step}, {metric} {value:.4f}")
        self.metrics = {metric: value}


class Pruning(pl.Callback):
    """End a trial of a search that is unlikely to become the best, by a logged metric."""

    def __init__(self, reporter: "Reporter", metric: str) -> None:
        self.reporter, self.metric = reporter, metric

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report; the first process asks the pruner, and all end together."""
        step, value = trainer.global_step, float(trainer.callback_metrics[self.metric])
        ends = trainer.is_global_zero and self.reporter.ends(step, value)
        if trainer.strategy.broadcast(ends):
            raise Pruned(step, self.metric, value)
