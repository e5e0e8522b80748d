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
    merged = f", {_gib(sizes.started)} of merged models in the cache" if sizes.started else ""
    text = (
        f"about {_gib(sum(sizes))} below {runs} ({_gib(sizes.weights)} of weights, "
        f"{_gib(sizes.activations)} of activations, {_gib(sizes.resume_point)} of checkpoints to "
        f"resume from{merged}), and {_gib(free)} are free"
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
    from loradrift.models import trainable_parameters

    backbone = weightless_model(config)
    total = sum(p.numel() for p in backbone.parameters())
    trainable = sum(p.numel() for p in trainable_parameters(backbone).values())
    learned = FLOAT * (2 * trainable if trainable < total else trainable + total)
    dump = config.callbacks.activation_dump
    rows = dump.rows
    if dump.pooling == "tokens":  # every row may be as long as the task allows
        tokens = rows * config.task.max_length
        rows = min(tokens, dump.max_tokens or tokens)
    # each layer's rows, and the mean of the first tokens beside them
    shape = backbone.causal_lm.config.get_text_config()
    per_dump = shape.num_hidden_layers * (rows + 1) * shape.hidden_size * DUMP_BYTES[dump.dtype]
    num_dumps = 1 + -(-num_steps(config) // dump.every_n_steps) if dump.enabled else 0
    if config.start and dump.enabled:  # of every task before, and of the chain's first model
        num_dumps += len(config.start["chain"]) + 1
    return Sizes(learned, num_dumps * per_dump, 2 * 3 * FLOAT * trainable)


def merged_bytes(config: Config) -> int:
    """Bytes of the model with this run's adapter merged into it; 0 without an adapter."""
    if not isinstance(config.method, LoraConfig):
        return 0
    lm = weightless_model(replace(config, method=HeadOnlyConfig(name="head_only"))).causal_lm
    return FLOAT * sum(int(p.numel()) for p in lm.parameters())


def weightless_model(config: Config) -> "Backbone":
    """A run's model, as it trains, from its architecture; no weight is made or read."""
    import torch
    from transformers import AutoModelForCausalLM

    from loradrift.methods import make_trainable
    from loradrift.models import Backbone, check_path, load_architecture, reading
    from loradrift.training.base_model import tiny_architecture

    assert isinstance(config.method, TrainedConfig)
    model = config.model
    if isinstance(model, TinyModelConfig):  # its weights may not have been made yet
        model = tiny_architecture(config, model)
    check_path(model)
    architecture = load_architecture(model)
    with torch.device("meta"):
        with reading(model, "config.json"):
            backbone = Backbone(AutoModelForCausalLM.from_config(architecture))
        make_trainable(backbone, config.method, seed=0)
    backbone.freeze_output_head()
    return backbone


def num_steps(config: Config) -> int:
    """Optimizer steps of a run; about, where they follow from the rows' number."""
    limits = [config.task.max_steps]
    if config.task.epochs is not None:
        from loradrift.tasks import spec_of

        load = spec_of(config.task).load
        rows = len(load(config.task, config.data, Path(config.cache)).train)
        size = config.task.batch_size * config.trainer.devices * config.trainer.accumulate
        limits.append(max(1, round(config.task.epochs * rows / size)))
    return min(limit for limit in limits if limit is not None)


def free_bytes(folder: Path) -> int:
    """Free space on the disk that holds, or will hold, ``folder``."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
