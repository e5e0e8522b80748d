"""What every task shares: steps, the optimizer, and checkpoints that hold only what trains."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from loradrift.config import LoraConfig, OptimConfig
from loradrift.data import Batch, Rows
from loradrift.models import Backbone, trainable_parameters
from loradrift.tasks.prepared import PreparedData

Item = TypeVar("Item")


class Task(pl.LightningModule):
    """A model, its loss and its optimizer.

    A subclass gives :meth:`loss`, :meth:`observe` and :meth:`figures`. The model is the backbone,
    or a module with a ``backbone`` and a ``head``; the training sets ``total_steps``.
    """

    def __init__(self, model: nn.Module, optim: OptimConfig, total_steps: int = 1) -> None:
        super().__init__()
        self.model = model
        self.optim = optim
        self.total_steps = total_steps
        # A checkpoint holds what trains; the rest is the base model, which is named by its digest.
        self.strict_loading = False
        self.fingerprints: Mapping[str, str] = {}
        """Of what the task reads beside rows and base model, for the run's record."""

        self.notices: Sequence[str] = ()
        """What a reader of the run's record must not overlook, known after the test."""

        self._losses: list[Tensor] = []  # of the micro-batches since the last step

    @property
    def backbone(self) -> Backbone:
        """The transformer, for those who watch it."""
        return cast(Backbone, getattr(self.model, "backbone", self.model))

    @property
    def head(self) -> nn.Module | None:
        """What the task puts on the backbone."""
        return cast(nn.Module | None, getattr(self.model, "head", None))

    def adapt_head(self, method: LoraConfig, seed: int) -> None:
        """Put LoRA on what trains beside the backbone too, where a task asks for it."""

    def certified(self, data: PreparedData) -> Tensor:
        """What the model makes of a few rows, as it is used in earnest: for the certificate."""
        ids_BT = small_batch(data).to(next(self.backbone.parameters()).device)
        return self.backbone.encode(ids_BT)

    def loss(self, batch: Batch) -> Tensor:
        """Loss of one micro-batch."""
        raise NotImplementedError

    def observe(self, batch: Batch) -> Any:
        """Keep what the model says of a batch, for :meth:`figures`."""
        raise NotImplementedError

    def figures(self, split: str) -> Mapping[str, Any]:
        """The figures of all batches observed since the last call, by name."""
        raise NotImplementedError

    def training_weights(self) -> AbstractContextManager[None]:
        """What holds while it trains, and neither before nor after."""
        return nullcontext()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch."""
        loss = self.loss(batch)
        self.log_training(loss, batch_idx)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Observe validation rows."""
        self.observe(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Observe evaluation rows."""
        self.observe(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation figures."""
        self._log_figures("validation")

    def on_test_epoch_end(self) -> None:
        """Log the evaluation figures."""
        self._log_figures("evaluation")

    def _log_figures(self, split: str) -> None:
        figures = self.figures(split)
        self.log_at_step({f"{split}/{name}": value for name, value in figures.items()})

    def predictions(self, rows: Rows) -> Iterator[dict[str, Any]]:
        """What the last test said of each of its rows: the lines of ``predictions.jsonl``."""
        yield from ()

    def prediction_files(self, rows: Rows) -> dict[str, Any]:
        """Further files of predictions: name -> JSON, or a table."""
        return {}

    def take_over(self, metrics: Mapping[str, float | None]) -> None:
        """Take what a validation chose from the figures of the run whose head this is."""

    def train_accuracy(self, figures: Mapping[str, float]) -> float:
        """The share of rows that a validation found right, from the figures that it logged."""
        return figures["validation/accuracy"]

    def configure_model(self) -> None:
        """Nothing: a strategy that shards asks for it, and what it gets is sharded already."""

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over the trainable parameters, with linear warm-up and linear decay."""
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.optim.lr, fused=True)
        schedule = LambdaLR(optimizer, self._lr_factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients together.

        Lightning's own refuses a fused optimizer under autocast, because a gradient scaler would
        unscale inside of it; bf16 needs no scaler.
        """
        if gradient_clip_val:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Backbone and head by their learning rates; matrices alone are decayed."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]]
        groups = {key: [] for key in product((False, True), (True, False))}
        for name, parameter in trainable_parameters(self.model).items():
            groups[name.startswith("head."), parameter.ndim > 1].append(parameter)
        lr, head_lr, decay = self.optim.lr, self.optim.head_lr, self.optim.weight_decay
        return [
            {
                "params": params,
                "lr": (head_lr or lr) if head else lr,
                "weight_decay": decay if matrix else 0.0,
            }
            for (head, matrix), params in groups.items()
        ]

    def _lr_factor(self, step: int) -> float:
        warmup = round(self.optim.warmup_ratio * self.total_steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)  # never 0: the first step must learn
        return max(0.0, (self.total_steps - step) / max(1, self.total_steps - warmup))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what does not train."""
        trainable = {f"model.{name}" for name in trainable_parameters(self.model)}
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name in trainable
        }

    def load_trained(self, state: dict[str, Any]) -> None:
        """Load what :meth:`on_save_checkpoint` kept.

        Raises:
            ValueError: If the checkpoint is not of this model.
        """
        wanted = {f"model.{name}" for name in trainable_parameters(self.model)}
        if wanted != set(state):
            raise ValueError(
                f"the checkpoint must hold the {len(wanted)} trained parameters, differs in "
                f"{sorted(wanted ^ set(state))[:3]}"
            )
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

        options = StateDictOptions(full_state_dict=True, strict=False)
        # each process takes its part of sharded parameters
        set_model_state_dict(self, {**state}, options=options)

    def log_training(self, loss: Tensor, batch_idx: int) -> None:
        """Log the mean loss of a step's micro-batches, at the steps that are written only."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if (self.global_step + 1) % every:
            return
        self._losses.append(loss.detach())
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0:
            mean = torch.stack(self._losses).mean()
            self._losses.clear()
            self.log_at_step({"train/loss": mean}, sync_dist=True, prog_bar=True)

    def log_at_step(self, values: dict[str, Any], **options: Any) -> None:
        """Log ``values`` at the number of optimizer steps done, which is what a step means here."""
        self.log_dict(values | {"step": float(self.global_step)}, **options)


NUM_ROWS = 4
"""Rows of the small batch."""


def small_batch(data: PreparedData) -> Tensor:
    """Token ids (B, T) of a few rows: the shortest of the probe, which is sorted by length."""
    if data.probe is not None:
        return data.probe.batches[-1]["input_ids"][-NUM_ROWS:]
    ids_BT: Tensor = first_rows(data)["input_ids"]
    return ids_BT


def first_rows(data: PreparedData) -> Batch:
    """The first rows of the reported split."""
    return data.collate(data.evaluation, range(min(NUM_ROWS, len(data.evaluation))))


def gathered(found: list[Item]) -> list[Item]:
    """What all processes have found."""
    if not torch.distributed.is_initialized():
        return found
    parts: list[list[Item]] = [[]] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, found)
    return [each for part in parts for each in part]
