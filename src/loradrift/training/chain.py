"""What a run of a chain does when it has trained: every earlier task again, with its own head."""

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from loradrift.activations.dumping import dump_once
from loradrift.config import TASKS, Config, DataConfig, TrainedConfig, UserError
from loradrift.config.callbacks import ActivationDumpConfig
from loradrift.config.recorded import recorded
from loradrift.data import EvaluationBatches
from loradrift.error_messages import one_line
from loradrift.models import Backbone, load_architecture, load_backbone
from loradrift.progress import announced
from loradrift.runs import Cell
from loradrift.runs.links import Link
from loradrift.runs.model_files import HEAD
from loradrift.runs.reading import damaged
from loradrift.tasks import spec_of
from loradrift.tasks.base import Task
from loradrift.tasks.prepared import PreparedData
from loradrift.training.base_model import Pretrain
from loradrift.training.build import build_evaluator, build_task, pooling_of
from loradrift.training.checkpoints import load_checkpoint
from loradrift.training.outputs import write_predictions
from loradrift.training.prepared_data import prepare, prepare_again
from loradrift.training.started import first_base, links_of

FOLDER = "chain"
"""Of a run: a folder for each earlier task, and ``first_base``."""

ROWS = ("evaluation_rows", "tokenization", "probe")
"""Fingerprints that must be those of the earlier task's own run."""


def check_chain(config: Config, pretrain: Pretrain) -> None:
    """Try, before a run trains, what :func:`evaluate_chain` needs; no weight of a model is read.

    Raises:
        UserError: If the rows of an earlier task are others now, or its head cannot be used.
    """
    from transformers import AutoModelForCausalLM

    data = prepare(config, pretrain)
    with announced("looking at the heads of earlier tasks"), torch.device("meta"):
        weightless = Backbone(AutoModelForCausalLM.from_config(load_architecture(data.model)))
    for link in _earlier(config).values():
        own = _earlier_config(config, link)
        earlier_task(own, link, prepare_again(own, data), weightless)


def evaluate_chain(config: Config, cell: Cell, pretrain: Pretrain) -> None:
    """Evaluate all earlier tasks on the best weights of a run that has trained, and dump probes.

    Each model is in memory alone.

    Raises:
        UserError: If an earlier run or its base model has vanished, or its rows are others now.
    """
    assert isinstance(config.method, TrainedConfig)
    data = prepare(config, pretrain)
    earlier = _earlier(config)
    alone = replace(config.trainer, name=config.trainer.accelerator, devices=1, compile=False)
    config = replace(config, trainer=alone)
    metrics = dict[str, float]()
    gc.collect()  # the training's trainer and task refer to each other
    with announced("loading the trained model"):
        built = build_task(config, data, 1)
        built.task.load_trained(load_checkpoint(cell.best_checkpoint)["state_dict"])
    for name, link in earlier.items():
        with announced(f"evaluating {name} again", has_bar=True):
            figures = evaluate_earlier(config, cell, data, link, built.task.backbone)
        metrics |= {f"earlier/{name}/{key}": value for key, value in figures.items()}
    del built
    gc.collect()
    dump, probe = config.callbacks.activation_dump, data.probe
    if dump.enabled and probe is not None:
        with announced("dumping the first base model's probe"):
            base = load_backbone(first_base(links_of(config), config.cache, pretrain), seed=0)
            folder = cell.folder / FOLDER / "first_base"
            with ready(config, base):
                dump_once(base, folder, probe, pooling_of(config), dtype=dump.dtype, step=0)
    finite = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
    cell.save(metrics=cell.record.metrics | finite)


def evaluate_earlier(
    config: Config, cell: Cell, data: PreparedData, link: Link, backbone: Backbone
) -> dict[str, float]:
    """Figures of an earlier task's reported rows, with the head of its own run; writes its files.

    Args:
        config: Of the run that has trained, on one device.
        cell: Its cell.
        data: Its rows and tokenizer.
        link: The earlier task's own run.
        backbone: With the weights that were trained.
    """
    own = _earlier_config(config, link)
    rows = prepare_again(own, data)
    task = earlier_task(own, link, rows, backbone)
    task.take_over(link.record.metrics)
    batches = EvaluationBatches(rows.evaluation, rows.collate, batch_size=2 * own.task.batch_size)
    [figures] = build_evaluator(config).test(task, batches, verbose=False)
    folder = cell.folder / FOLDER / link.task
    lines, files = task.predictions(rows.evaluation), task.prediction_files(rows.evaluation)
    write_predictions(folder, lines, files)
    if config.callbacks.activation_dump.enabled:
        assert rows.probe is not None
        dtype = own.callbacks.activation_dump.dtype
        place, step = folder / "activations", cell.record.steps
        with ready(config, backbone):
            dump_once(backbone, place, rows.probe, pooling_of(own), dtype=dtype, step=step)
    split = "evaluation/"
    return {
        key.removeprefix(split): float(value)
        for key, value in figures.items()
        if key.startswith(split)
    }


def earlier_task(own: Config, link: Link, rows: PreparedData, backbone: Backbone) -> Task:
    """An earlier task on a backbone, with the head of its own run.

    Raises:
        UserError: If its rows are not those of that run, or there is no such head.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    here, theirs = f"{link.task} cannot be evaluated as in {link.folder}", link.record.fingerprints
    if other := [key for key in ROWS if rows.fingerprints.get(key) != theirs.get(key)]:
        raise UserError(f"{here}: its {', '.join(other)} changed since then")
    assert isinstance(own.method, TrainedConfig)
    task = spec_of(own.task).build(backbone, own.task, own.method.optim, rows, own.seed)
    assert task.head is not None
    try:
        task.head.load_state_dict(load_file(link.model / HEAD))
    except (OSError, SafetensorError, RuntimeError) as error:  # torch's, of another shape
        what = "is not there, is damaged, or is of another model"
        raise UserError(f"{here}: model/{HEAD} {what} ({one_line(error)})") from None
    return task


def _earlier(config: Config) -> dict[str, Link]:
    """The runs before whose tasks are evaluated again, by task."""
    return {link.task: link for link in links_of(config) if TASKS[link.task].follows}


def _earlier_config(config: Config, link: Link) -> Config:
    """The run's configuration with the rows, tokens and probe of an earlier one."""
    values, path = link.record.config, link.folder / "run.json"
    try:
        task, data = values["task"], values["data"]
        dump = values["callbacks"]["activation_dump"]
    except (LookupError, TypeError):
        lost = "config.task, config.data or config.callbacks.activation_dump is absent"
        raise damaged(path, lost) from None
    where = f"{path}: its"
    return replace(
        config,
        task=recorded(TASKS[link.task].config, task, f"{where} task"),
        data=recorded(DataConfig, data, f"{where} data"),
        callbacks=replace(
            config.callbacks,
            activation_dump=recorded(ActivationDumpConfig, dump, f"{where} callbacks"),
        ),
    )


@contextmanager
def ready(config: Config, backbone: Backbone) -> Iterator[None]:
    """The backbone on the run's device and, while the block runs, in its precision."""
    device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
    backbone.to(device)
    reduced = config.trainer.precision == "bf16-mixed"
    with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
        yield
