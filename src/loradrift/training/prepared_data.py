"""What a run reads: rows, tokens, the probe, and the fingerprints that make runs comparable."""

import hashlib
import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.activations import Probe
from loradrift.activations.probe import KEYS
from loradrift.config import Config, TinyModelConfig, TrainedConfig, UserError
from loradrift.data import (
    Collator,
    Rows,
    Splits,
    TokenTable,
    data_root,
    load_retention_text,
    rows_fingerprint,
    tokenize_documents,
)
from loradrift.data.batches import MULTIPLE
from loradrift.data.tokens import name_special_tokens
from loradrift.models import (
    check_path,
    check_vocabulary,
    load_architecture,
    load_tokenizer,
    model_fingerprint,
    num_embeddings,
    num_positions,
    pad_token,
)
from loradrift.progress import announced
from loradrift.stopwatch import Seconds
from loradrift.tasks import spec_of
from loradrift.tasks.prepared import PreparedData
from loradrift.training.base_model import Pretrain, resolve_model
from loradrift.training.started import chain_fingerprint, started

RETENTION_LENGTH = 128
"""Most tokens in a row of neutral text."""

_kept: dict[str, PreparedData] = {}
"""The last run's data: the next seed or method of a multirun reads the same."""


def prepare(config: Config, pretrain: Pretrain) -> PreparedData:
    """Load and tokenise the rows, from the cache where they are known.

    Raises:
        UserError: If data or model are missing or malformed, or rows exceed the model's length.
    """
    key = what_is_read(config)
    if key in _kept:
        return replace(_kept[key], model_time=Seconds())
    _kept.clear()  # before the others come, so that there are never two in memory
    data = _read(config, pretrain)
    _kept.clear()  # if the small model was made, its training has left its own
    _kept[key] = data
    return data


def what_is_read(config: Config) -> str:
    """Everything that data depend on; files by their size and time of change."""
    task = {k: v for k, v in asdict(config.task).items() if k not in ("max_steps", "epochs")}
    drawn = config.model.weights == "random" or config.task.facts.from_scratch
    # the small model's folder is named after what it is made of, and a start knows its digest
    named = isinstance(config.model, TinyModelConfig) or config.start
    folders = [] if named else [Path(config.model.path)]
    if config.data.name != "hub":
        folders.append(data_root(config.data, Path(config.cache)))
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    values = {
        "task": task,
        "trained": isinstance(config.method, TrainedConfig),
        "model": asdict(config.model),
        "start": config.start,
        "seed": config.seed if drawn else None,
        "data": asdict(config.data),
        "callbacks": asdict(config.callbacks),
        "accelerator": config.trainer.accelerator,
        "cache": config.cache,
        "files": [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files],
    }
    return json.dumps(values, sort_keys=True)


class Tokenized(NamedTuple):
    """A task's rows as a model reads them."""

    splits: Splits[Any]
    train: Rows
    validation: Rows
    evaluation: Rows
    probe: Probe | None
    fingerprints: dict[str, str]
    """All but the model's."""


def _read(config: Config, pretrain: Pretrain) -> PreparedData:
    cache = Path(config.cache)
    # first: the small model may take minutes to make
    splits = _load_rows(config)
    began = Seconds.now()
    start = started(config, pretrain) if config.start else None
    model = resolve_model(config, pretrain) if start is None else start.model
    model_time = Seconds.now() - began
    check_path(model)
    architecture = load_architecture(model)
    tokenizer = load_tokenizer(model)
    num_rows = num_embeddings(architecture)
    check_vocabulary(f"model.path={model.path}", tokenizer, num_rows)
    positions = num_positions(architecture)
    if positions is not None and config.task.max_length > positions:
        raise UserError(
            f"task.max_length must be at most the {positions} positions of {model.path}, "
            f"got {config.task.max_length}"
        )
    multiple = 1 if config.trainer.accelerator == "cpu" else MULTIPLE
    collate = Collator(pad_token(tokenizer, num_rows), multiple=multiple)
    rows = _tokenized(config, splits, tokenizer, collate)
    with announced("taking the base model's fingerprint"):
        own = base = model_fingerprint(model, seed=config.seed, cache=cache)
    chain, record = dict[str, str](), dict[str, Any]()
    if start is not None:
        base, chain = start.base_print, {"chain": chain_fingerprint(start.links)}
        record = {key: config.start[key] for key in ("chain", "run")} | {"fingerprint": own}
    prints = rows.fingerprints | {"base_model": base} | chain
    with announced("making tokens of the neutral text"):
        text = retention_table(config, positions, tokenizer)
    tables = rows.train, rows.validation, rows.evaluation
    return PreparedData(
        model, tokenizer, splits, *tables, collate, rows.probe, text, prints, model_time, cache,
        record,
    )  # fmt: skip


def prepare_again(config: Config, data: PreparedData) -> PreparedData:
    """The rows of ``config``'s task for the model and the tokenizer of ``data``, and no other."""
    rows = _tokenized(config, _load_rows(config), data.tokenizer, data.collate)
    return replace(
        data,
        splits=rows.splits,
        train=rows.train,
        validation=rows.validation,
        evaluation=rows.evaluation,
        probe=rows.probe,
        retention=None,
        fingerprints=data.fingerprints | rows.fingerprints,
    )


def _load_rows(config: Config) -> Splits[Any]:
    with announced("reading the rows"):
        return spec_of(config.task).load(config.task, config.data, Path(config.cache))


def _tokenized(config: Config, splits: Splits[Any], tokenizer: Any, collate: Collator) -> Tokenized:
    spec = spec_of(config.task)
    encoding = spec.encode(config.task, tokenizer, Path(config.cache))
    with announced("making tokens of the rows"):
        train, validation, evaluation = map(encoding.encode, splits.rows)
    probe = None if spec.from_scratch else make_probe(config, evaluation, collate)
    with announced("taking the rows' fingerprints"):
        fingerprints = {
            "evaluation_rows": rows_fingerprint(splits.evaluation),
            "train_rows": rows_fingerprint(splits.train),
            "tokenization": how_tokenized(encoding.fingerprint, tokenizer, splits),
            "metric": config.task.metric,
        }
    if probe is not None:
        fingerprints["probe"] = probe.fingerprint
    return Tokenized(splits, train, validation, evaluation, probe, fingerprints)


def how_tokenized(fingerprint: str, tokenizer: Any, splits: Splits[Any]) -> str:
    """The fingerprint, marked where earlier versions made other tokens of these rows.

    They read the name of a special token in a text as that token.
    """
    if not any(name_special_tokens(tokenizer, rows) for rows in splits.rows):
        return fingerprint
    return hashlib.sha256(f"{fingerprint} special tokens as text".encode()).hexdigest()


def make_probe(config: Config, table: Rows, collate: Collator) -> Probe:
    """Rows of the evaluation split, drawn by the data's seed: the same for all seeds and methods.

    Sorted by length, so that little is padded.
    """
    size = min(config.callbacks.activation_dump.rows, len(table))
    drawn = random.Random(config.data.seed).sample(range(len(table)), size)
    order = sorted(drawn, key=lambda i: (-int(table.lengths[i]), i))
    width = config.task.batch_size * 2
    batches = [collate(table, order[i : i + width]) for i in range(0, size, width)]
    kept = tuple({key: batch[key] for key in KEYS} for batch in batches)
    return Probe(tuple(table.ids[i] for i in order), kept)


def retention_table(config: Config, positions: int | None, tokenizer: Any) -> TokenTable | None:
    """The first tokens of the neutral text, in rows; the same for all seeds and methods.

    Returns:
        None where forgetting is not measured: it is turned off, nothing is trained, the task is
        language modelling itself, or the data source holds no such text.
    """
    settings = config.callbacks.forgetting
    trained = isinstance(config.method, TrainedConfig)
    if not settings.enabled or not trained or config.task.facts.from_scratch:
        return None
    cache, source = Path(config.cache), config.data.name
    rows = load_retention_text(config.data, cache)
    if not rows:
        print(f"forgetting is not measured: data={source} has no neutral text", flush=True)
        return None
    length = min(RETENTION_LENGTH, positions or RETENTION_LENGTH)
    return tokenize_documents(rows, tokenizer, length, cache).head(settings.tokens)
