"""How long the rows are that a run reads; nothing but their tokens is made."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from loradrift.caching import cached, entry
from loradrift.config import Config, ModelConfig, UserError
from loradrift.files import write_json
from loradrift.models import check_path, load_architecture, load_tokenizer, num_positions
from loradrift.progress import announced
from loradrift.stopwatch import Seconds
from loradrift.study.costs.work import Lengths
from loradrift.tasks import spec_of
from loradrift.training.base_model import made_model
from loradrift.training.prepared_data import retention_table, what_is_read

FORMAT = 2
"""Of the lengths in the cache."""


def read_lengths(config: Config) -> Lengths:
    """The lengths of all training rows, however few a run takes, and of its other rows.

    Raises:
        UserError: If rows or model are missing, or ``model=tiny`` has not been made.
    """
    model = local_model(config)
    config = replace(config, data=replace(config.data, train_rows=None))
    config = replace(config, task=replace(config.task, min_train_accuracy=None))
    key = f"{FORMAT} {model.path} {what_is_read(config)}"
    path = entry(Path(config.cache, "lengths"), key, ".json")

    def make(new: Path) -> None:
        values = {name: np.asarray(each).tolist() for name, each in _read(config, model).items()}
        write_json(new, values)

    def read(known: Path) -> Lengths:
        values = json.loads(known.read_text(encoding="utf-8"))
        numbers = {name: values.pop(name) for name in ("read_s", "windows")}
        lengths = {name: np.array(each, dtype=np.int64) for name, each in values.items()}
        return Lengths(**lengths, read_s=numbers["read_s"], windows=numbers["windows"])

    return cached(path, make, read)


def _read(config: Config, model: ModelConfig) -> dict[str, object]:
    cache, spec = Path(config.cache), spec_of(config.task)
    began = Seconds.now()
    splits = spec.load(config.task, config.data, cache)
    tokenizer = load_tokenizer(model)
    encode = spec.encode(config.task, tokenizer, cache).encode
    with announced(f"making tokens of the rows of {config.task.name}"):
        train, validation, evaluation = (encode(rows).lengths for rows in splits.rows)
    neutral = retention_table(config, num_positions(load_architecture(model)), tokenizer)
    return {
        "train": train,
        "validation": validation,
        "evaluation": evaluation,
        "neutral": [] if neutral is None else neutral.lengths,
        "read_s": (Seconds.now() - began).cpu,
        "windows": len(train) / max(1, len(splits.train)),
    }


def local_model(config: Config) -> ModelConfig:
    """The model of a run, whose files are on this machine.

    Raises:
        UserError: If they are not: a dry run makes and downloads no model.
    """
    model = made_model(config)
    if model is None:
        raise UserError("model=tiny is made by the first run")
    if not Path(model.path).is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            held = snapshot_download(model.path, local_files_only=True)
        except (LocalEntryNotFoundError, HFValidationError):
            raise UserError(f"{model.path} is not on this machine yet") from None
        # a snapshot may be of the configuration and tokenizer alone
        if model.weights != "random" and not any(Path(held).glob("*.safetensors")):
            raise UserError(f"the weights of {model.path} are not on this machine yet")
    check_path(model)
    return model


def model_key(config: Config) -> dict[str, object]:
    """What tells a model on this machine from another, without reading its weights."""
    model = local_model(config)
    files = sorted(Path(model.path).glob("*.safetensors")) if Path(model.path).is_dir() else []
    return asdict(model) | {"files": [(each.name, each.stat().st_size) for each in files]}
