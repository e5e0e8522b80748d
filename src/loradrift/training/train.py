"""Train a cell, from its last checkpoint if there is one, and evaluate the best weights."""

import logging
import math
import warnings
from contextlib import suppress

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger

from loradrift.callbacks.collapse_detector import Collapsed, CollapseDetector
from loradrift.callbacks.guards import TrainingFault
from loradrift.callbacks.resume_point import StopRequested, signals_restored
from loradrift.callbacks.throughput import Throughput
from loradrift.callbacks.training_budget import TrainingBudget
from loradrift.config import Config, LoraConfig
from loradrift.models import export_model, trainable_parameters
from loradrift.progress import announced, tell
from loradrift.runs import Cell, Status
from loradrift.signals import stop
from loradrift.sweeping.pruning import Pruned
from loradrift.tasks.base import Task
from loradrift.training.build import (
    build_callbacks,
    build_evaluator,
    build_task,
    build_trainer,
    count_steps,
    train_batches,
)
from loradrift.training.certificate import record_certificate
from loradrift.training.checkpoints import check_continued, load_checkpoint, steps_done
from loradrift.training.loggers import open_loggers
from loradrift.training.outputs import record_inputs, write_predictions
from loradrift.training.sharding import shard
from loradrift.training.worker import Worker


def train(worker: Worker) -> None:
    """Train, evaluate, export; the cell's record has the figures.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
        UserError: If the training fails in a way its guards know.
    """
    quiet()
    config, cell, data = worker.config, worker.cell, worker.data
    pl.seed_everything(config.seed, verbose=False)
    check_continued(cell, data)
    total_steps = count_steps(config, data)
    with announced("loading the base model"):
        built = build_task(config, data, total_steps)
    if config.trainer.sharded:
        shard(built.task, config.trainer.accelerator)
    num_trainable = sum(p.numel() for p in trainable_parameters(built.task.model).values())
    record_inputs(config, cell, data, built.task.model, num_trainable)
    # These are the base weights in a resumed run too: its checkpoint is loaded by the fit.
    before = worker.forgetting("before", built.task)
    throughput = Throughput(worker.began)
    with open_loggers(config, cell, steps_done(cell.last_checkpoint)) as loggers:
        try:
            fit(worker, built.task, loggers, throughput, total_steps)
        except (Pruned, Collapsed) as ended:
            collapsed = isinstance(ended, Collapsed)
            if collapsed and config.search.trial is not None and worker.first:
                end_trial(config, cell, total_steps)
            cell.save(
                status=Status.COLLAPSED if collapsed else Status.PRUNED,
                error=str(ended),
                metrics=ended.metrics,
                performance=throughput.figures(worker.share.world_size),
            )
            return
        with announced("evaluating the best checkpoint", has_bar=True):
            metrics = evaluate(worker, built.task)
        metrics |= before | worker.forgetting("after", built.task)
        # the validation figures are the best checkpoint's, and this is the last step's row
        final = {key: metrics[key] for key in metrics if not key.startswith("validation/")}
        for logger in loggers:
            logger.log_metrics(final, total_steps)
            logger.save()
        if worker.first and worker.reports:  # before the loggers close: W&B takes the file up
            rows = data.evaluation
            lines, files = built.task.predictions(rows), built.task.prediction_files(rows)
            write_predictions(cell.folder, lines, files)
    # not among the data's own: a run may go on where the text cannot be had
    text = {} if data.retention is None else {"neutral_text": data.retention.fingerprint}
    cell.save(
        fingerprints=data.fingerprints | text | dict(built.task.fingerprints),
        metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
        performance=throughput.figures(worker.share.world_size),
        notices=list(built.task.notices),
    )
    for notice in built.task.notices:
        tell(notice)
    if worker.first:
        if config.trainer.sharded:  # what follows needs the whole model, in this process alone
            built = build_task(config, data, total_steps)
            built.task.load_trained(load_checkpoint(cell.best_checkpoint)["state_dict"])
        head, initial = built.task.head, built.initial_adapter
        with announced("writing the model and its certificate"):
            model, backbone = cell.folder / "model", built.task.backbone
            exported = export_model(model, backbone, head, data.tokenizer, initial)
            cell.save(exported=exported)
            if isinstance(config.method, LoraConfig):
                record_certificate(cell, data, built)
    check_memorised(config, metrics)


def fit(
    worker: Worker, task: Task, loggers: list[Logger], throughput: Throughput, total_steps: int
) -> None:
    """Run the training steps that are left.

    Raises:
        KeyboardInterrupt: If asked to stop; a checkpoint has been saved.
    """
    config, cell, data = worker.config, worker.cell, worker.data
    budget = TrainingBudget(len(data.train))
    callbacks = build_callbacks(config, cell, data, (throughput, budget), total_steps)
    trainer = build_trainer(config, callbacks, loggers, total_steps)
    batches = train_batches(config, data, worker.share, total_steps)
    batches.start = steps_done(cell.last_checkpoint) * config.trainer.accumulate
    checkpoint = cell.last_checkpoint if cell.last_checkpoint.exists() else None
    validation = worker.evaluation_batches(data.validation)
    try:
        with signals_restored(), task.training_weights():
            trainer.fit(task, batches, validation, ckpt_path=checkpoint, weights_only=True)
    except StopRequested as request:
        stop(request.number)
    finally:
        cell.record.steps, cell.record.budget = trainer.global_step, budget.figures()
        cell.record.performance = throughput.figures(worker.share.world_size)
        detectors = (each for each in callbacks if isinstance(each, CollapseDetector))
        cell.record.collapse = next((each.figures() for each in detectors), {})
        with suppress(OSError):  # a full disk must not hide what ended the training
            cell.save()


def end_trial(config: Config, cell: Cell, total_steps: int) -> None:
    """Tell the search that a trial ended early: collapsed, it is never the best."""
    from loradrift.sweeping.reporting import Reporter

    Reporter(config.search, cell.folder, total_steps=total_steps).end()


def evaluate(worker: Worker, task: Task) -> dict[str, float]:
    """Figures of the best checkpoint on the validation rows and, but for trials, the reported."""
    data = worker.data
    evaluator = build_evaluator(worker.config)
    metrics: dict[str, float] = {}
    if worker.config.task.min_train_accuracy is not None:  # of the last weights, on their own rows
        batches = worker.evaluation_batches(data.train)
        [figures] = evaluator.validate(task, batches, verbose=False)
        metrics["train/accuracy"] = task.train_accuracy(figures)
    best = load_checkpoint(worker.cell.best_checkpoint)
    task.load_trained(best["state_dict"])
    [figures] = evaluator.validate(task, worker.evaluation_batches(data.validation), verbose=False)
    metrics |= figures
    if worker.reports:
        [figures] = evaluator.test(task, worker.evaluation_batches(data.evaluation), verbose=False)
        metrics |= figures
    metrics.pop("step")
    return metrics


def check_memorised(config: Config, metrics: dict[str, float]) -> None:
    """The sanity check of ``experiment=overfit``: accuracy on the training rows, at the end."""
    wanted = config.task.min_train_accuracy
    if wanted is not None and metrics["train/accuracy"] < wanted:
        raise TrainingFault(
            f"the model did not overfit its own training rows: accuracy "
            f"{metrics['train/accuracy']:.4f} after training must be at least "
            f"task.min_train_accuracy={wanted}"
        )


def quiet() -> None:
    """Keep the libraries' chatter out of a terminal that shows a progress bar."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*is not resumable.*")
