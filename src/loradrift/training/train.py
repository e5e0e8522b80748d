"""Train a cell, from its last checkpoint if there is one, and evaluate the best weights."""

import json
import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger

from loradrift.callbacks.guards import TrainingFault
from loradrift.callbacks.resume_point import StopRequested, signals_restored
from loradrift.callbacks.throughput import Throughput
from loradrift.config import Config, UserError, identity
from loradrift.data import EvaluationBatches, Share, TokenTable
from loradrift.files import write_atomic
from loradrift.models import export_model, trainable_parameters
from loradrift.runs import Cell, RunRecord, write_record
from loradrift.tasks import ClassificationTask, Task
from loradrift.training.build import (
    Built,
    build_callbacks,
    build_evaluator,
    build_task,
    build_trainer,
    count_steps,
    train_batches,
)
from loradrift.training.inputs import Inputs
from loradrift.training.loggers import open_loggers


def train(config: Config, cell: Cell, inputs: Inputs, share: Share = Share()) -> RunRecord:
    """Train, evaluate, export.

    Args:
        config: What to do.
        cell: The held directory.
        inputs: What :func:`~loradrift.training.inputs.prepare` made.
        share: Which process of a data-parallel run this is.

    Returns:
        The record, with metrics; also written by the first process.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
        UserError: If the training fails in a way its guards know.
    """
    quiet()
    pl.seed_everything(config.seed, verbose=False)
    total_steps = count_steps(config, inputs)
    built = build_task(config, inputs, total_steps)
    first = share.rank == 0
    record = replace(
        cell.record,
        fingerprints=inputs.fingerprints,
        rows=inputs.num_rows,
        parameters=count_parameters(built.task),
    )
    if first:
        write_record(cell.folder, record)
        write_config(cell.folder / "config.yaml", config)
    throughput = Throughput()
    done = steps_done(cell.last_checkpoint)
    with open_loggers(config, cell, done) as loggers:
        fit(config, cell, inputs, built.task, loggers, throughput, share, total_steps)
        metrics = evaluate(config, cell, inputs, built.task, share)
        for logger in loggers:
            logger.log_metrics(metrics, total_steps)
            logger.save()
    record = replace(
        record,
        steps=total_steps,
        metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
        performance={
            "train_time_s": throughput.seconds,
            "tokens_per_s": throughput.tokens_per_second * share.world_size,
        },
    )
    if first:
        finish(cell, inputs, built, record)
    check_memorised(config, metrics)
    return record


def fit(
    config: Config,
    cell: Cell,
    inputs: Inputs,
    task: Task,
    loggers: list[Logger],
    throughput: Throughput,
    share: Share,
    total_steps: int,
) -> None:
    """Run the training steps that are left.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
    """
    callbacks = build_callbacks(config, cell, inputs, throughput)
    trainer = build_trainer(config, callbacks, loggers, total_steps)
    batches = train_batches(config, inputs, share, total_steps)
    batches.start = steps_done(cell.last_checkpoint) * config.trainer.accumulate
    checkpoint = cell.last_checkpoint if cell.last_checkpoint.exists() else None
    try:
        with signals_restored():
            trainer.fit(
                task,
                batches,
                evaluation_batches(config, inputs, inputs.validation, share),
                ckpt_path=checkpoint,
                weights_only=True,
            )
    except StopRequested:
        raise KeyboardInterrupt from None


def evaluate(
    config: Config, cell: Cell, inputs: Inputs, task: Task, share: Share
) -> dict[str, float]:
    """Figures of the best checkpoint on the validation rows and on the reported split."""
    evaluator = build_evaluator(config)

    def batches(table: TokenTable) -> EvaluationBatches:
        return evaluation_batches(config, inputs, table, share)

    metrics: dict[str, float] = {}
    if config.task.min_train_accuracy is not None:  # of the last weights, on their own rows
        [figures] = evaluator.validate(task, batches(inputs.train), verbose=False)
        metrics["train/accuracy"] = figures["validation/accuracy"]
    best = torch.load(cell.best_checkpoint, weights_only=True, mmap=True, map_location="cpu")
    task.load_trained(best["state_dict"])
    [validation] = evaluator.validate(task, batches(inputs.validation), verbose=False)
    [evaluation] = evaluator.test(task, batches(inputs.evaluation), verbose=False)
    metrics |= validation | evaluation
    metrics.pop("step")
    return metrics


def evaluation_batches(
    config: Config, inputs: Inputs, table: TokenTable, share: Share
) -> EvaluationBatches:
    """All rows of ``table`` in batches twice as large as in training, which needs gradients."""
    return EvaluationBatches(
        table, inputs.collate, batch_size=2 * config.task.batch_size, share=share
    )


def finish(cell: Cell, inputs: Inputs, built: Built, record: RunRecord) -> None:
    """Write predictions, model and record."""
    if isinstance(built.task, ClassificationTask):
        write_predictions(
            cell.folder / "predictions.jsonl",
            (
                {
                    "id": inputs.evaluation.ids[row.index],
                    "label": int(inputs.evaluation.labels[row.index]),
                    "prediction": row.label,
                    "score": row.score,
                }
                for row in built.task.predictions
            ),
        )
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


def steps_done(checkpoint: Path) -> int:
    """Optimizer steps in a checkpoint; 0 without one.

    Raises:
        UserError: If the file is damaged; names it.
    """
    if not checkpoint.exists():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True, mmap=True, map_location="cpu")
        return int(state["global_step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{checkpoint} is damaged ({reason}); delete it to train from the start"
        ) from error


def count_parameters(task: Task) -> dict[str, int]:
    """``trainable`` and ``total`` parameters of the model."""
    return {
        "trainable": sum(p.numel() for p in trainable_parameters(task.model).values()),
        "total": sum(p.numel() for p in task.model.parameters()),
    }


def write_predictions(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    with write_atomic(path) as temporary:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        temporary.write_text(text, encoding="utf-8")


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
