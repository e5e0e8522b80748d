"""Train a cell, from its last checkpoint if there is one, and evaluate the best weights."""

import logging
import math
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger

from loradrift.callbacks.guards import TrainingFault
from loradrift.callbacks.resume_point import StopRequested, signals_restored
from loradrift.callbacks.throughput import Throughput
from loradrift.config import Config, LoraConfig, identity
from loradrift.files import write_atomic
from loradrift.models import export_model, trainable_parameters
from loradrift.runs import Cell, RunRecord, Status, write_record
from loradrift.signals import stop
from loradrift.sweeping.pruning import Pruned
from loradrift.tasks import Task
from loradrift.training.build import (
    Built,
    build_callbacks,
    build_evaluator,
    build_task,
    build_trainer,
    count_steps,
    train_batches,
)
from loradrift.training.certificate import certified
from loradrift.training.checkpoints import check_continued, load_checkpoint, steps_done
from loradrift.training.inputs import Inputs
from loradrift.training.job import Job
from loradrift.training.loggers import open_loggers
from loradrift.training.predictions import write_lossy, write_predictions
from loradrift.training.sharding import shard


def train(job: Job) -> RunRecord:
    """Train, evaluate, export.

    Returns:
        The record, with metrics; also written by the first process.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
        UserError: If the training fails in a way its guards know.
    """
    quiet()
    config, cell, inputs = job.config, job.cell, job.inputs
    pl.seed_everything(config.seed, verbose=False)
    check_continued(cell, inputs)
    total_steps = count_steps(config, inputs)
    built = build_task(config, inputs, total_steps)
    if config.trainer.sharded:
        shard(built.task, built.head, config.trainer.accelerator)
    cell.record = replace(
        cell.record,
        fingerprints=inputs.fingerprints,
        rows=inputs.num_rows,
        parameters=count_parameters(built.task),
    )
    if job.first:
        write_record(cell.folder, cell.record)
        write_config(cell.folder / "config.yaml", config)
        write_lossy(cell.folder, inputs.lossy_answers)
    # These are the base weights in a resumed run too: its checkpoint is loaded by the fit.
    before = job.forgetting("before", built.task)
    throughput = Throughput(job.began)
    with open_loggers(config, cell, steps_done(cell.last_checkpoint)) as loggers:
        try:
            fit(job, built.task, loggers, throughput, total_steps)
        except Pruned as pruned:
            metric = f"validation/{config.task.metric}"
            figures = throughput.figures(job.share.world_size)
            return replace(
                cell.record,
                status=Status.PRUNED,
                error=str(pruned),
                metrics={metric: pruned.value},
                performance=figures,
            )
        metrics = evaluate(job, built.task) | before | job.forgetting("after", built.task)
        # the validation figures are the best checkpoint's, and this is the last step's row
        final = {key: metrics[key] for key in metrics if not key.startswith("validation/")}
        for logger in loggers:
            logger.log_metrics(final, total_steps)
            logger.save()
        if job.first and job.reports:  # before the loggers close: W&B takes the file up
            write_predictions(cell.folder, built.task, inputs.evaluation)
    record = replace(
        cell.record,
        fingerprints=inputs.fingerprints | neutral_fingerprint(inputs),
        metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
        performance=throughput.figures(job.share.world_size),
    )
    if job.first:
        if config.trainer.sharded:  # what follows needs the whole model, in this process alone
            built = build_task(config, inputs, total_steps)
            built.task.load_trained(load_checkpoint(cell.best_checkpoint)["state_dict"])
        finish(cell, inputs, built, record)
        if isinstance(config.method, LoraConfig):
            record = certified(cell, inputs, built, record)
    check_memorised(config, metrics)
    return record


def fit(
    job: Job, task: Task, loggers: list[Logger], throughput: Throughput, total_steps: int
) -> None:
    """Run the training steps that are left.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
    """
    config, cell, inputs = job.config, job.cell, job.inputs
    callbacks = build_callbacks(config, cell, inputs, throughput, total_steps)
    trainer = build_trainer(config, callbacks, loggers, total_steps)
    batches = train_batches(config, inputs, job.share, total_steps)
    batches.start = steps_done(cell.last_checkpoint) * config.trainer.accumulate
    checkpoint = cell.last_checkpoint if cell.last_checkpoint.exists() else None
    try:
        with signals_restored():
            trainer.fit(
                task,
                batches,
                job.evaluation_batches(inputs.validation),
                ckpt_path=checkpoint,
                weights_only=True,
            )
    except StopRequested as request:
        stop(request.number)
    finally:
        cell.record.steps = trainer.global_step
        cell.record.performance = throughput.figures(job.share.world_size)
        if job.first:
            with suppress(OSError):  # a full disk must not hide what ended the training
                write_record(cell.folder, cell.record)


def evaluate(job: Job, task: Task) -> dict[str, float]:
    """Figures of the best checkpoint on the validation rows and, but for trials, the reported."""
    inputs = job.inputs
    evaluator = build_evaluator(job.config)
    metrics: dict[str, float] = {}
    if job.config.task.min_train_accuracy is not None:  # of the last weights, on their own rows
        batches = job.evaluation_batches(inputs.train)
        [figures] = evaluator.validate(task, batches, verbose=False)
        metrics["train/accuracy"] = task.share_right(figures)
    best = load_checkpoint(job.cell.best_checkpoint)
    task.load_trained(best["state_dict"])
    [figures] = evaluator.validate(task, job.evaluation_batches(inputs.validation), verbose=False)
    metrics |= figures
    if job.reports:
        [figures] = evaluator.test(task, job.evaluation_batches(inputs.evaluation), verbose=False)
        metrics |= figures
    metrics.pop("step")
    return metrics


def finish(cell: Cell, inputs: Inputs, built: Built, record: RunRecord) -> None:
    """Write model and record."""
    export_model(
        cell.folder / "model",
        built.task.backbone,
        built.head,
        inputs.tokenizer,
        built.initial_adapter,
    )
    write_record(cell.folder, record)


def check_memorised(config: Config, metrics: dict[str, float]) -> None:
    """The sanity check of ``experiment=overfit``.

    Raises:
        TrainingFault: If accuracy on the training rows ends below ``task.min_train_accuracy``.
    """
    wanted = config.task.min_train_accuracy
    if wanted is not None and metrics["train/accuracy"] < wanted:
        raise TrainingFault(
            f"the model did not learn its own training rows by heart: accuracy "
            f"{metrics['train/accuracy']:.4f} after training must be at least "
            f"task.min_train_accuracy={wanted}"
        )


def neutral_fingerprint(inputs: Inputs) -> dict[str, str]:
    """Digest of the text that forgetting was measured on.

    Not among the inputs' own: a run may go on where the text cannot be had.
    """
    return {} if inputs.neutral is None else {"neutral_text": inputs.neutral.fingerprint}


def count_parameters(task: Task) -> dict[str, int]:
    """``trainable`` and ``total`` parameters of the model."""
    return {
        "trainable": sum(p.numel() for p in trainable_parameters(task.model).values()),
        "total": sum(p.numel() for p in task.model.parameters()),
    }


def write_config(path: Path, config: Config) -> None:
    """The resolved configuration for a reader; ``run.json`` holds the same."""
    import yaml

    with write_atomic(path) as temporary:
        temporary.write_text(yaml.safe_dump(identity(config), sort_keys=False), encoding="utf-8")


def quiet() -> None:
    """Keep the libraries' chatter out of a terminal that shows a progress bar."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*is not resumable.*")
