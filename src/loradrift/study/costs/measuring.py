"""Take the rates of a model and method: a few real steps, in a process of their own."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from loradrift.callbacks.guards import TrainingFault
from loradrift.config import Config, LoraConfig, identity
from loradrift.data import Batch, Rows
from loradrift.models import export_model
from loradrift.models.hooks import eval_mode
from loradrift.progress import lines_of
from loradrift.runs import Cell, RunRecord
from loradrift.runs.record import new_record
from loradrift.stopwatch import Seconds
from loradrift.study.costs.rates import Point, Rates
from loradrift.tasks.base import Task
from loradrift.tasks.prepared import PreparedData
from loradrift.training.build import Built, build_task, make_trainer
from loradrift.training.certificate import record_certificate
from loradrift.training.checkpoints import load_checkpoint
from loradrift.training.prepared_data import RETENTION_LENGTH, prepare
from loradrift.training.resources import peak_memory_bytes, reset_peak_memory
from loradrift.training.train import quiet
from loradrift.training.worker import NEUTRAL_ROWS, Worker


class Sizes(NamedTuple):
    """Positions of the batches to measure, the smallest first."""

    steps: Sequence[int]
    forwards: Sequence[int]


class Clock:
    """Seconds of an idle machine: CPU seconds for each thread, or wall time on a GPU."""

    def __init__(self, accelerator: str) -> None:
        self.gpu = accelerator == "gpu"
        self.restart()

    def restart(self) -> None:
        """Count from here."""
        self._began = self._now()

    def seconds(self) -> float:
        """Since the last restart."""
        return self._now() - self._began

    def _now(self) -> float:
        if self.gpu:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time() / torch.get_num_threads()


class Meter(pl.Callback):
    """Take the time of each training step, and at the end of evaluations and a checkpoint.

    Args:
        clock: What counts.
        evaluated: Batches to evaluate.
        path: Where the checkpoint goes.
    """

    def __init__(self, clock: Clock, evaluated: Sequence[Batch], path: Path) -> None:
        self.clock, self.evaluated, self.path = clock, evaluated, path
        # the least of each size, which other work disturbs least
        self.steps: dict[int, float] = {}
        self.update_s = math.inf
        self.forwards: dict[int, float] = {}
        self.write_s = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.clock.restart()

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Note the time at which the gradients are there."""
        self.gradients_s = self.clock.seconds()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep the time of the gradients, and that of the optimizer's step after them."""
        seconds, size = self.gradients_s, batch["input_ids"].numel()
        self.update_s = min(self.update_s, self.clock.seconds() - seconds)
        self.steps[size] = min(seconds, self.steps.get(size, seconds))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate as a validation does, and save."""
        task = cast(Task, pl_module)
        with eval_mode(task), trainer.precision_plugin.forward_context(), torch.inference_mode():
            for each in self.evaluated:
                batch = {key: value.to(task.device) for key, value in each.items()}
                self.clock.restart()
                task.observe(batch)
                seconds, size = self.clock.seconds(), batch["input_ids"].numel()
                self.forwards[size] = min(seconds, self.forwards.get(size, seconds))
        self.clock.restart()
        trainer.save_checkpoint(self.path, weights_only=True)
        self.write_s = self.clock.seconds() / self.path.stat().st_size


class Loader:
    """Batches as Lightning takes them: of a list it would make one batch."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def measure(config: Config, sizes: Sizes, threads: int, folder: Path) -> Rates:
    """Rates of a configuration; ``threads`` are those that its cell will compute with.

    Everything is computed by the code of a run, which leaves its files in ``folder``.

    Raises:
        UserError: If data or model are missing.
    """
    quiet()
    reset_peak_memory()
    torch.set_num_threads(threads)
    pl.seed_everything(config.seed, verbose=False)
    with lines_of(None), redirect_stdout(StringIO()):
        data = prepare(config, pretrain=_never)
        cell = Cell(folder, new_record(identity(config), "training", config.phase, {}, []))
        return _measure(config, cell, data, sizes)


def _measure(config: Config, cell: Cell, data: PreparedData, sizes: Sizes) -> Rates:
    clock = Clock(config.trainer.accelerator)
    rounds = 3 if clock.gpu else 1  # a GPU chooses its kernels at the first
    trained = [chosen(data.train, config.task.batch_size, size) for size in sizes.steps]
    trained = trained * rounds if clock.gpu else [trained[0], trained[0], *trained]
    size = 2 * config.task.batch_size
    evaluated = [chosen(data.validation, size, each) for each in sizes.forwards] * rounds
    built = build_task(config, data, len(trained))
    load_s = clock.seconds()
    batches = [data.collate(data.train, rows) for rows in trained]
    tested = [data.collate(data.validation, rows) for rows in evaluated]
    meter = Meter(clock, tested, cell.best_checkpoint)
    clip = config.trainer.gradient_clip or None
    trainer = make_trainer(config, [meter], max_epochs=1, logger=False, gradient_clip_val=clip)
    with built.task.training_weights():
        trainer.fit(built.task, Loader(batches))
    built.task.load_trained(load_checkpoint(cell.best_checkpoint)["state_dict"])
    # after training, when the optimizer's moments are in memory too
    neutral_s = neutral_seconds(config, cell, data, built.task, clock)
    return Rates(
        load_s=load_s,
        step=_points(meter.steps),
        update_s=meter.update_s,
        forward=_points(meter.forwards),
        neutral_s=neutral_s,
        write_s=meter.write_s,
        finish_s=finish_seconds(config, cell, data, built, clock),
        peak_bytes=peak_memory_bytes(config.trainer.accelerator),
    )


def neutral_seconds(
    config: Config, cell: Cell, data: PreparedData, task: Task, clock: Clock
) -> float:
    """Seconds for each position of neutral text; 0 where forgetting is not measured."""
    if data.retention is None:
        return 0.0
    few = data.retention.head(NEUTRAL_ROWS * RETENTION_LENGTH)
    worker = Worker(config, cell, replace(data, retention=few), Seconds.now())
    clock.restart()
    worker.forgetting("after", task)
    return clock.seconds() / int(few.lengths.sum())


def finish_seconds(
    config: Config, cell: Cell, data: PreparedData, built: Built, clock: Clock
) -> float:
    """Seconds of the export, and of the certificate of an adapter."""
    clock.restart()
    task, folder = built.task, cell.folder / "model"
    export_model(folder, task.backbone, task.head, data.tokenizer, built.initial_adapter)
    if isinstance(config.method, LoraConfig):
        with suppress(TrainingFault):  # of an adapter that a few steps have hardly moved
            record_certificate(cell, data, built)
    return clock.seconds()


def chosen(table: Rows, size: int, positions: int) -> NDArray[np.int64]:
    """Row numbers of a batch of at most ``size`` rows and about ``positions``."""
    order = np.argsort(np.abs(table.lengths - positions / size), kind="stable")[:size]
    rows = round(positions / int(table.lengths[order].max()))
    return np.asarray(order[: min(max(rows, 1), size)])


def _points(times: dict[int, float]) -> list[Point]:
    return [Point(positions, times[positions]) for positions in sorted(times)]


def _never(config: Config, cell: Cell) -> RunRecord:
    raise AssertionError("a dry run makes no base model")
