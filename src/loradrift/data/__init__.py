"""From official files to batches."""

import hashlib
from functools import partial
from pathlib import Path

from loradrift.caching import cached, folder_with
from loradrift.config import DataConfig, UserError
from loradrift.data.base import Row, Splits, rows_fingerprint
from loradrift.data.batches import (
    ALONE,
    Batch,
    Collator,
    EvaluationBatches,
    Rows,
    Share,
    TrainBatches,
)
from loradrift.data.corpus import read_corpus, read_retention_text
from loradrift.data.glue import FORMATS, GlueFormat, read_glue
from loradrift.data.hub import read_hub, read_hub_retention_text, read_hub_squad
from loradrift.data.splits import split_questions, split_rows
from loradrift.data.squad_v2.format import Question, find_squad, read_squad
from loradrift.data.squad_v2.metrics import evaluate as evaluate_squad
from loradrift.data.squad_v2.windows import Windows
from loradrift.data.tokens import TokenTable, tokenize, tokenize_documents

__all__ = [
    "ALONE",
    "FORMATS",
    "Batch",
    "Collator",
    "EvaluationBatches",
    "GlueFormat",
    "Question",
    "Row",
    "Rows",
    "Share",
    "Splits",
    "TokenTable",
    "TrainBatches",
    "Windows",
    "data_root",
    "evaluate_squad",
    "load_corpus",
    "load_glue",
    "load_retention_text",
    "load_squad",
    "rows_fingerprint",
    "tokenize",
    "tokenize_documents",
]


def load_glue(task: str, data: DataConfig, cache: Path, form: GlueFormat) -> Splits[Row]:
    """Rows of a GLUE task, whose name begins their ids, from the source that ``data`` names.

    Raises:
        UserError: If a file is missing or malformed, a split is empty, or the hub is not there.
    """
    if data.name == "hub":
        read = partial(read_hub, form, task)
    else:
        read = partial(read_glue, data_root(data, cache), form, task)
    return split_rows(read("train"), read(data.evaluation_split), data)


def load_squad(data: DataConfig, cache: Path) -> Splits[Question]:
    """Questions of SQuAD v2, from the source that ``data`` names.

    Raises:
        UserError: If a file is missing or malformed, a split is empty, or the hub is not there.
    """
    splits = ("train", data.evaluation_split)
    if data.name == "hub":
        train, evaluation = map(read_hub_squad, splits)
    else:
        root = data_root(data, cache)
        train, evaluation = (read_squad(find_squad(root, split)) for split in splits)
    return split_questions(train, evaluation, data)


def load_corpus(data: DataConfig, cache: Path, corpus: str = "general") -> Splits[Row]:
    """Documents for language modelling: train, and ``valid`` as validation and evaluation.

    ``corpus`` is one of :data:`loradrift.config.tasks.CORPORA`.

    Raises:
        UserError: If the hub is asked for: it holds no corpus of ours.
    """
    if data.name == "hub":
        raise UserError("task=pretrain has no corpus on the hub; use data=embedded or data=local")
    root = data_root(data, cache)
    train, valid = (read_corpus(root, split, corpus) for split in ("train", "valid"))
    return Splits(train[: data.train_rows], valid, valid)


def load_retention_text(data: DataConfig, cache: Path) -> list[Row]:
    """Held-out text that belongs to no task; nothing where the source of ``data`` has none.

    Raises:
        UserError: If its file is damaged.
    """
    if data.name == "hub":
        return read_hub_retention_text()
    return read_retention_text(data_root(data, cache))


def data_root(data: DataConfig, cache: Path) -> Path:
    """The folder with the official files; the embedded ones are written on first use."""
    if data.name == "local":
        return Path(data.root)
    from loradrift.data.embedded import write_embedded

    sources = sorted(Path(__file__).parent.glob("embedded/**/*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]

    def make(root: Path) -> None:
        write_embedded(root, seed=data.seed)
        (root / "complete").touch()

    folder = cache / "data" / f"embedded-{digest}-seed={data.seed}"
    return cached(folder, make, folder_with("complete"))
