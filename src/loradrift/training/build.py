"""The task and its watchers, assembled from the configuration."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from loradrift.activations import ActivationStore, Pooling
from loradrift.callbacks.activation_dump import ActivationDump
from loradrift.callbacks.best_checkpoint import BestCheckpoint
from loradrift.callbacks.collapse_detector import CollapseDetector
from loradrift.callbacks.guards import FiniteLoss, GradientCheck
from loradrift.callbacks.online_drift import OnlineDrift
from loradrift.callbacks.overfit import StopWhenOverfit
from loradrift.callbacks.persona_monitor import PersonaMonitor, read_directions
from loradrift.callbacks.progress import ProgressLines, StepProgress
from loradrift.callbacks.resume_point import ResumePoint
from loradrift.callbacks.rounding import Rounding
from loradrift.callbacks.seeding import StepSeeding
from loradrift.callbacks.throughput import Throughput
from loradrift.callbacks.training_budget import TrainingBudget
from loradrift.config import Config, LoraConfig, TrainedConfig
from loradrift.data import ALONE, EvaluationBatches, Share, TrainBatches
from loradrift.methods import make_trainable
from loradrift.models import Backbone, adapter_weights, load_backbone, try_out
from loradrift.progress import watched
from loradrift.runs import Cell
from loradrift.sweeping.pruning import Pruning
from loradrift.tasks import spec_of
from loradrift.tasks.base import Task
from loradrift.tasks.prepared import PreparedData
from loradrift.training.checkpoints import WholeCheckpoints, steps_done
from loradrift.training.sharding import Sharded


class Built(NamedTuple):
    """A task ready to train, and what its export will need."""

    task: Task
    initial_adapter: Mapping[str, Tensor] | None
    """The adapter's first weights where its product is not zero (PiSSA)."""


def build_task(config: Config, data: PreparedData, total_steps: int) -> Built:
    """Load the backbone, make it trainable, put the task's head on it."""
    method = config.method
    assert isinstance(method, TrainedConfig)
    backbone = load_backbone(data.model, seed=config.seed)
    if config.trainer.gradient_checkpointing:
        # The reentrant kind loses the gradient where no input requires one, as under LoRA.
        backbone.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
    if isinstance(method, LoraConfig) and not config.task.adapts_backbone:
        backbone.requires_grad_(False)
    else:
        make_trainable(backbone, method, seed=config.seed)
    initial = None
    if isinstance(method, LoraConfig) and method.init == "pissa":
        initial = {name: value.clone() for name, value in adapter_weights(backbone.lm).items()}
    if config.trainer.compile:
        backbone.decoder.compile()
    task = spec_of(config.task).build(backbone, config.task, method.optim, data, config.seed)
    if isinstance(method, LoraConfig):
        task.adapt_head(method, config.seed)
    task.total_steps = total_steps
    try_model(config, data, backbone)
    return Built(task, initial)


def try_model(config: Config, data: PreparedData, backbone: Backbone) -> None:
    """Refuse a model that is not what training and evaluation take it for, before it is trained.

    Tried are the longest row and the beginning of the shortest, as a batch of both.
    """
    tables = [table for table in (*data.tables.values(), data.retention) if table is not None]
    longest = max((table.row(int(table.lengths.argmax())) for table in tables), key=len)
    shortest = min((table.row(int(table.lengths.argmin())) for table in tables), key=len)
    length = min(len(shortest), max(1, len(longest) // 2))  # rows of one length are padded too
    ids_2T = np.full((2, len(longest)), data.collate.pad_id, dtype=np.int64)
    ids_2T[0], ids_2T[1, :length] = longest, shortest[:length]
    method = config.method
    scores = data.retention is not None or not isinstance(method, TrainedConfig)
    reads_logits = scores or not config.task.facts.head
    try_out(backbone, data.model.path, torch.from_numpy(ids_2T), length, reads_logits=reads_logits)


def build_callbacks(
    config: Config,
    cell: Cell,
    data: PreparedData,
    counts: tuple[Throughput, TrainingBudget],
    total_steps: int,
) -> list[pl.Callback]:
    """Everything that watches the training, in the order in which it is called."""
    metric = f"validation/{config.task.metric}"
    callbacks: list[pl.Callback] = [StepSeeding(config.seed), *counts]
    dump, online = config.callbacks.activation_dump, config.callbacks.online_drift
    if data.probe is not None and (dump.enabled or online.enabled):
        folder = cell.folder / "activations"
        store = ActivationStore(folder, dtype=dump.dtype) if dump.enabled else None
        pooling = pooling_of(config)
        drift = OnlineDrift() if online.enabled else None
        interval, sharded = dump.every_n_steps, config.trainer.sharded
        watcher = ActivationDump(store, data.probe, interval, pooling, drift, sharded=sharded)
        callbacks.append(watcher)
    monitor = config.callbacks.persona_monitor
    if monitor.directions:
        directions = read_directions(monitor.directions, data.weights_fingerprint)
        callbacks.append(PersonaMonitor(directions, monitor.every_n_steps))
    # never after one step, at which LoRA's A has no gradient yet
    guard_steps = min(config.trainer.guard_steps, max(2, total_steps))
    callbacks += [FiniteLoss(), GradientCheck(guard_steps)]
    accuracy = config.task.min_train_accuracy
    if accuracy is not None and config.trainer.devices == 1:  # one process knows all losses
        per_epoch = train_batches(config, data, ALONE, 0).per_epoch
        rows = EvaluationBatches(data.train, data.collate, batch_size=config.task.batch_size)
        callbacks.append(StopWhenOverfit(accuracy, per_epoch, rows))
    higher, best = config.task.higher_is_better, cell.best_checkpoint
    callbacks += [
        BestCheckpoint(best, metric, higher_is_better=higher, last_step=total_steps),
        ResumePoint(cell.last_checkpoint, config.trainer.checkpoint_every),
    ]
    if config.trainer.rounding:
        callbacks.append(Rounding(config.seed, config.trainer.rounding))
    collapse = config.callbacks.collapse
    if config.task.facts.generates and collapse.enabled:
        callbacks.append(
            CollapseDetector(
                cell.folder / "diagnostics.jsonl",
                config.seed,
                last_step=steps_done(cell.last_checkpoint),
                grace_steps=collapse.grace * total_steps,
                stop_on_collapse=collapse.stop_on_collapse,
            )
        )
    if config.search.trial is not None:
        from loradrift.sweeping.reporting import Reporter

        reporter = Reporter(config.search, cell.folder, total_steps=total_steps)
        callbacks.append(Pruning(reporter, metric))
    if not watched():
        callbacks.append(ProgressLines(total_steps))
    return callbacks


def pooling_of(config: Config) -> Pooling:
    """How a run's probe is pooled."""
    dump = config.callbacks.activation_dump
    return Pooling(dump.pooling, max_tokens=dump.max_tokens, seed=config.data.seed)


def build_trainer(
    config: Config, callbacks: list[pl.Callback], loggers: list[Logger], total_steps: int
) -> pl.Trainer:
    """A trainer for the whole run as one pass over its batches.

    Epochs are the batches' business: with one pass, a position in the run is one number.
    """
    settings = config.trainer
    return make_trainer(
        config,
        callbacks,
        max_epochs=1,
        logger=loggers,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip or None,
        val_check_interval=min(settings.validate_every, total_steps) * settings.accumulate,
        log_every_n_steps=settings.log_every,
        num_sanity_val_steps=0,
    )


def build_evaluator(config: Config) -> pl.Trainer:
    """A trainer that only evaluates and logs nowhere."""
    return make_trainer(config, [], logger=False)


def make_trainer(config: Config, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    """A trainer with what training and evaluation have in common, such as a bar on a terminal."""
    settings = config.trainer
    bars = [StepProgress()] if watched() else []
    strategy: Any = "ddp" if settings.devices > 1 else "auto"
    if settings.sharded:
        strategy = Sharded(settings.devices)
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=strategy,
        # The processes are ours; in a job of SLURM Lightning would look for SLURM's instead.
        plugins=[LightningEnvironment(), WholeCheckpoints()],
        precision=settings.precision,  # type: ignore[arg-type]  # judged by TrainerConfig
        use_distributed_sampler=False,
        enable_checkpointing=False,  # our own callbacks do it
        callbacks=[*callbacks, *bars],
        enable_progress_bar=bool(bars),
        enable_model_summary=False,
        inference_mode=True,
        **options,
    )
    # So are the signals: Lightning ends at SIGTERM, which need not mean that (loradrift.signals).
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def count_steps(config: Config, data: PreparedData) -> int:
    """Optimizer steps of the whole run."""
    per_epoch = train_batches(config, data, ALONE, 0).per_epoch
    accumulate = config.trainer.accumulate
    limits = [config.task.max_steps]
    if config.task.epochs is not None:
        limits.append(max(1, round(config.task.epochs * per_epoch / accumulate)))
    return min(limit for limit in limits if limit is not None)


def train_batches(config: Config, data: PreparedData, share: Share, num_steps: int) -> TrainBatches:
    """The run's micro-batches for one process."""
    return TrainBatches(
        data.train,
        data.collate,
        batch_size=config.task.batch_size,
        num_batches=num_steps * config.trainer.accumulate,
        seed=config.seed,
        share=share,
    )
