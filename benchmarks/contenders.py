"""The same training three times: our loop, transformers' Trainer, and a bare PyTorch loop."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import transformers
from measure import Seconds, clock
from torch import nn

from loradrift.config import Config, identity
from loradrift.data import Batch
from loradrift.runs import Cell
from loradrift.runs.record import new_record
from loradrift.tasks.prepared import PreparedData
from loradrift.training import build
from loradrift.training.loggers import MetricsFile


class LoopClock(pl.Callback):
    """CPU seconds from the first training batch to the end of training."""

    began = seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self.began = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        self.seconds = time.process_time() - self.began


def time_ours(config: Config, inputs: PreparedData, folder: Path, batches: list[Batch]) -> Seconds:
    """Our task and guards in Lightning's loop; no dump, no validation, no checkpoint inside."""
    cell = Cell(folder / "cell", new_record(identity(config), "training", config.phase, {}, []))
    task = build.build_task(config, inputs, len(batches)).task
    throughput = build.Throughput(time.perf_counter())
    kept = (build.StepSeeding, build.Throughput, build.FiniteLoss, build.GradientCheck)
    callbacks = [
        callback
        for callback in build.build_callbacks(config, cell, inputs, throughput, len(batches))
        if isinstance(callback, kept)
    ]
    stopwatch = LoopClock()
    loggers: Any = [MetricsFile(folder / "metrics.csv", 0)]
    trainer = build.build_trainer(config, [*callbacks, stopwatch], loggers, len(batches))
    trainer.fit(task, torch.utils.data.DataLoader(batches, batch_size=None))
    return stopwatch.seconds


def time_bare(config: Config, inputs: PreparedData, batches: list[Batch]) -> Seconds:
    """What anybody would write down, with the same optimizer, schedule and clipping."""
    task = build.build_task(config, inputs, len(batches)).task.train()
    optimizers: Any = task.configure_optimizers()
    optimizer, scheduler = optimizers["optimizer"], optimizers["lr_scheduler"]["scheduler"]
    trained = [p for p in task.model.parameters() if p.requires_grad]
    times: list[Seconds] = []
    with clock(times):
        for batch in batches:
            logits = task.model(batch["input_ids"], batch["attention_mask"])
            nn.functional.cross_entropy(logits, batch["labels"]).backward()
            nn.utils.clip_grad_norm_(trained, config.trainer.gradient_clip)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return times[0]


class WithLoss(nn.Module):
    """Our classifier as transformers' Trainer wants a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Loss and logits."""
        logits = self.model(input_ids, attention_mask)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class TrainerClock(transformers.TrainerCallback):
    """CPU seconds from the first training step to the end of training."""

    began = seconds = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.began = time.process_time()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds = time.process_time() - self.began


def time_trainer(
    config: Config, inputs: PreparedData, folder: Path, batches: list[Batch]
) -> Seconds:
    """Transformers' Trainer on the same batches, model and PEFT set-up."""
    task = build.build_task(config, inputs, len(batches)).task
    names = ("input_ids", "attention_mask", "labels")
    data = [{name: batch[name] for name in names} for batch in batches]
    stopwatch = TrainerClock()
    optim: Any = task.optim
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=1,
        max_steps=len(batches),
        learning_rate=optim.lr,
        max_grad_norm=config.trainer.gradient_clip,
        logging_steps=config.trainer.log_every,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        log_level="error",
    )
    trainer = transformers.Trainer(
        model=WithLoss(task.model),
        args=arguments,
        train_dataset=data,
        data_collator=lambda rows: rows[0],
        callbacks=[stopwatch],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return stopwatch.seconds
