"""What a study writes, estimated before it starts."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loradrift.config import (
    BaselineConfig,
    Config,
    LoraConfig,
    TinyModelConfig,
    TrainedConfig,
    UserError,
)
from loradrift.config.methods import HeadOnlyConfig

if TYPE_CHECKING:
    from loradrift.models import Backbone

FLOAT = 4
"""Bytes of a weight; master weights are float32."""

DUMP_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


class Sizes(NamedTuple):
    """Bytes of the files of one run or of many."""

    weights: int = 0
    """What was learned: ``model/`` and the best checkpoint."""

    activations: int = 0
    resume_point: int = 0
    """The last checkpoint, with the optimizer's state; twice while it is replaced. It goes when
    the run has finished."""

    started: int = 0
    """Models below the cache with an adapter merged into them, from which other runs start."""


def check_disk(runs: Path, sizes: Sizes, name: str) -> str:
    """What a study will write below ``runs``, and what is free; refuses what does not fit."""
    free = free_bytes(runs)
    merged = f", {size(sizes.started)} of merged models in the cache" if sizes.started else ""
    text = (
        f"about {size(sum(sizes))} below {runs} ({size(sizes.weights)} of weights, "
        f"{size(sizes.activations)} of activations, {size(sizes.resume_point)} of checkpoints to "
        f"resume from{merged}), and {size(free)} are free"
    )
    if sum(sizes) > free:
        raise UserError(
            f"study={name} needs {text}; fewer seeds or tasks, or a larger "
            "callbacks.activation_dump.every_n_steps, need less"
        )
    return text


def study_sizes(configs: Iterable[Config], at_a_time: int) -> Sizes:
    """All that the runs leave, and the largest checkpoints that exist at a time."""
    known: dict[str, Sizes] = {}
    sizes = []
    for config in configs:
        kind = repr(replace(config, seed=0))
        if kind not in known:
            known[kind] = run_sizes(config)
        sizes.append(known[kind])
    points = sorted((each.resume_point for each in sizes), reverse=True)
    activations = sum(each.activations for each in sizes)
    return Sizes(sum(each.weights for each in sizes), activations, sum(points[:at_a_time]))


def run_sizes(config: Config) -> Sizes:
    """Bytes of one run's large files."""
    if isinstance(config.method, BaselineConfig):
        return Sizes()
    counts = parameter_counts(config)
    total, trainable = counts.total, counts.trainable
    learned = FLOAT * (2 * trainable if counts.is_adapter else trainable + total)
    dump = config.callbacks.activation_dump
    rows = dump.rows
    if dump.pooling == "tokens":  # every row may be as long as the task allows
        tokens = rows * config.task.max_length
        rows = min(tokens, dump.max_tokens or tokens)
    # each layer's rows, and the mean of the first tokens beside them
    per_dump = counts.depth * (rows + 1) * counts.width * DUMP_BYTES[dump.dtype]
    num_dumps = 1 + -(-num_steps(config) // dump.every_n_steps) if dump.enabled else 0
    if config.start and dump.enabled:  # of every task before, and of the chain's first model
        num_dumps += len(config.start["chain"]) + 1
    return Sizes(learned, num_dumps * per_dump, 2 * 3 * FLOAT * trainable)


def merged_bytes(config: Config) -> int:
    """Bytes of the model with this run's adapter merged into it; 0 without an adapter."""
    if not isinstance(config.method, LoraConfig):
        return 0
    whole = replace(config, method=HeadOnlyConfig(name="head_only"))
    return FLOAT * parameter_counts(whole).total


class Counts(NamedTuple):
    """Of a model as a run trains it, without what the task puts on it."""

    total: int
    trainable: int
    depth: int
    width: int
    is_adapter: bool
    """Whether ``model/`` holds an adapter; else it holds all weights."""


_known: dict[str, Counts] = {}


def parameter_counts(config: Config) -> Counts:
    """Parameters of a run's model; runs that differ in neither model nor method share them."""
    method = {key: value for key, value in vars(config.method).items() if key != "optim"}
    model = config.model
    corpus = config.data if isinstance(model, TinyModelConfig) else None
    key = repr((model, method, corpus, config.cache))
    if key not in _known:
        from loradrift.models import trainable_parameters

        backbone = weightless_model(config)
        shape = backbone.causal_lm.config.get_text_config()
        _known[key] = Counts(
            sum(p.numel() for p in backbone.parameters()),
            sum(p.numel() for p in trainable_parameters(backbone).values()),
            shape.num_hidden_layers,
            shape.hidden_size,
            isinstance(config.method, LoraConfig),
        )
    return _known[key]


def weightless_model(config: Config) -> "Backbone":
    """A run's model, as it trains, from its architecture; no weight is made or read."""
    import torch
    from transformers import AutoModelForCausalLM

    from loradrift.methods import make_trainable
    from loradrift.models import Backbone, check_path, load_architecture, reading

    assert isinstance(config.method, TrainedConfig)
    model = config.model
    if isinstance(model, TinyModelConfig):  # its weights may not have been made yet
        from loradrift.training.base_model import tiny_architecture

        model = tiny_architecture(config, model)
    check_path(model)
    architecture = load_architecture(model)
    with torch.device("meta"):
        with reading(model, "config.json"):
            backbone = Backbone(AutoModelForCausalLM.from_config(architecture))
        make_trainable(backbone, config.method, seed=0)
    backbone.freeze_output_head()
    return backbone


def num_steps(config: Config, rows: int | None = None) -> int:
    """Optimizer steps of a run of which ``rows`` are trained on.

    Where ``rows`` is None and they matter, they are counted as the files have them: of a long
    context that is cut into windows as one row.
    """
    limits = [config.task.max_steps]
    if config.task.epochs is not None:
        if rows is None:
            from loradrift.tasks import spec_of

            load = spec_of(config.task).load
            rows = len(load(config.task, config.data, Path(config.cache)).train)
            rows = min(rows, config.data.train_rows or rows)
        per_epoch = rows // (config.task.batch_size * config.trainer.devices)  # whole batches
        steps = round(config.task.epochs * per_epoch / config.trainer.accumulate)
        limits.append(max(1, steps))
    return min(limit for limit in limits if limit is not None)


def free_bytes(folder: Path) -> int:
    """Free space on the disk that holds, or will hold, ``folder``."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def size(number: int) -> str:
    """Bytes as text."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
