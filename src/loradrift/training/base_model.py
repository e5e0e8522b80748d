"""Where the base model is; the small one is made on first use."""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from loradrift.caching import cached, folder_with
from loradrift.config import (
    CallbacksConfig,
    Config,
    DataConfig,
    LoggerConfig,
    ModelConfig,
    ScaleConfig,
    TinyModelConfig,
    TrainerConfig,
)
from loradrift.data import Row, data_root, load_corpus, rows_fingerprint
from loradrift.data.corpus import read_corpus
from loradrift.models import write_tiny
from loradrift.runs import Cell, RunRecord, open_run
from loradrift.training.resources import reset_peak_memory

Pretrain = Callable[[Config, Cell], RunRecord]
"""Computes a cell: :func:`loradrift.training.run`, which needs this module in turn."""

PRETRAINING_THREADS = 2
"""Fixed, because the order of sums is: the first run makes the weights for all."""


def resolve_model(config: Config, pretrain: Pretrain) -> ModelConfig:
    """The model to load, with its path.

    ``model=tiny`` becomes the folder of its pretrained weights in the cache, which are trained
    there first if they are missing; with ``task=pretrain`` it becomes its architecture alone.
    """
    model = config.model
    pretraining = config.task.facts.from_scratch
    if not isinstance(model, TinyModelConfig):
        return replace(model, weights="random") if pretraining else model
    if pretraining:
        return tiny_architecture(config, model)
    folder = pretrained_tiny(model, config.data.seed, config.cache, pretrain)
    return _plain(model, folder, "pretrained")


def _plain(model: TinyModelConfig, folder: Path, weights: str) -> ModelConfig:
    return ModelConfig(
        name=model.name, path=str(folder), weights=weights, attention=model.attention
    )


def tiny_architecture(config: Config, model: TinyModelConfig) -> ModelConfig:
    """The small model without weights: written once for each corpus and size."""
    cache, task = Path(config.cache), model.pretraining.task

    def corpus() -> list[Row]:
        return load_corpus(replace(config.data, train_rows=None), cache, task.corpus).train

    if config.data.name == "embedded":
        fingerprint = _embedded_fingerprint(data_root(config.data, cache), task.corpus)
    else:
        fingerprint = rows_fingerprint(corpus())
    sizes = {k: v for k, v in asdict(model).items() if k not in ("pretraining", "attention")}
    digest = _digest(fingerprint + inspect.getsource(write_tiny), sizes)
    folder = cached(
        cache / "models" / f"tiny-architecture-{digest}",
        lambda new: write_tiny(new, model, (row.text for row in corpus())),
        folder_with("config.json"),
    )
    return _plain(model, folder, "random")


@lru_cache(maxsize=4)
def _embedded_fingerprint(root: Path, corpus: str) -> str:
    """Digest of a corpus whose folder is named after its content, so that it never changes."""
    return rows_fingerprint(read_corpus(root, "train", corpus))


def pretrained_tiny(model: TinyModelConfig, seed: int, cache: str, pretrain: Pretrain) -> Path:
    """The cached weights of the small model; another process that needs them waits for the first.

    ``seed`` is that of the generated corpus.
    """
    recipe, folder = _place(model, seed, cache)

    def make(new: Path) -> None:
        print("model=tiny: pretraining its weights, once; a minute or two if idle", flush=True)
        with open_run(recipe) as cell:
            if not cell.finished:
                pretrain(recipe, cell)
                reset_peak_memory()  # what the run that asked for the model goes on measuring
        shutil.copytree(cell.folder / "model", new)

    return cached(folder, make, folder_with("config.json"))


def made_model(config: Config) -> ModelConfig | None:
    """The model to load, with its path; None where ``model=tiny`` has not been made yet."""
    model = config.model
    if not isinstance(model, TinyModelConfig):
        return model
    _, folder = _place(model, config.data.seed, config.cache)
    made = (folder / "config.json").is_file()
    return _plain(model, folder, "pretrained") if made else None


def _place(model: TinyModelConfig, seed: int, cache: str) -> tuple[Config, Path]:
    """The run that makes the small model, and where its weights are kept."""
    recipe = _recipe(model, seed, cache)
    architecture = Path(tiny_architecture(recipe, model).path)
    # another corpus is another cell: none of an earlier version's is taken up
    recipe.variant = _digest(architecture.name, _pretraining(model))
    return recipe, Path(cache) / "models" / f"tiny-{recipe.variant}"


def _recipe(model: TinyModelConfig, seed: int, cache: str) -> Config:
    """The run of ``task=pretrain`` that makes the weights, kept in the cache."""
    callbacks = CallbacksConfig()
    callbacks.activation_dump.enabled = False
    # Nothing else of this run's own: the weights are all runs'.
    return Config(
        scale=ScaleConfig(name="tiny"),
        task=model.pretraining.task,
        method=model.pretraining.method,
        model=model,
        seed=model.pretraining.seed,
        data=DataConfig(name="embedded", seed=seed),
        trainer=TrainerConfig(name="cpu", threads=PRETRAINING_THREADS),
        logger=LoggerConfig(name="csv"),
        callbacks=callbacks,
        cache=cache,
        runs=str(Path(cache) / "pretraining"),
    )


def _pretraining(model: TinyModelConfig) -> dict[str, Any]:
    """The recipe by value; weights are found again that were made before there was ``corpus``."""
    recipe = asdict(model.pretraining)
    if recipe["task"]["corpus"] == "general":
        del recipe["task"]["corpus"]
    return recipe


def _digest(text: str, values: object) -> str:
    return hashlib.sha256((text + json.dumps(values, sort_keys=True)).encode()).hexdigest()[:12]
