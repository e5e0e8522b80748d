"""From official files to batches."""

import hashlib
from pathlib import Path

from loradrift.caching import cached, folder_with
from loradrift.config import DataConfig, UserError
from loradrift.data.base import Example, Row, Splits, rows_fingerprint, split_rows
from loradrift.data.batches import (
    ALONE,
    Batch,
    Collator,
    EvaluationBatches,
    Rows,
    Share,
    TrainBatches,
)
from loradrift.data.corpus import read_corpus
from loradrift.data.glue import FORMATS, GlueFormat, read_glue
from loradrift.data.hub import read_hub, read_hub_retention_text, read_hub_squad
from loradrift.data.retention_text import read_retention_text
from loradrift.data.squad_v2.encoding import WindowSizes
from loradrift.data.squad_v2.format import Question, read_squad
from loradrift.data.squad_v2.metrics import evaluate as evaluate_squad
from loradrift.data.squad_v2.splits import find_squad, split_questions
from loradrift.data.squad_v2.windows import Windows, make_windows, windows_fingerprint
from loradrift.data.tokens import (
    TokenTable,
    tokenization_fingerprint,
    tokenize,
    tokenize_documents,
    tokenize_examples,
)

__all__ = [
    "ALONE",
    "FORMATS",
    "Batch",
    "Collator",
    "EvaluationBatches",
    "Example",
    "GlueFormat",
    "Question",
    "Row",
    "Rows",
    "Share",
    "Splits",
    "TokenTable",
    "TrainBatches",
    "WindowSizes",
    "Windows",
    "data_root",
    "evaluate_squad",
    "load_corpus",
    "load_glue",
    "load_retention_text",
    "load_squad",
    "make_windows",
    "rows_fingerprint",
    "tokenization_fingerprint",
    "tokenize",
    "tokenize_documents",
    "tokenize_examples",
    "windows_fingerprint",
]


def load_glue(task: str, data: DataConfig, cache: Path, form: GlueFormat) -> Splits[Row]:
    """Rows of a GLUE task, from the source that ``data`` names.

    Args:
        task: Begins the rows' ids.
        data: The source.
        cache: Folder shared by all runs.
        form: Columns and labels of the files.

    Raises:
        UserError: If a file is missing or malformed, a split is empty, or the hub is not there.
    """
    if data.name == "hub":
        train, evaluation = (
            read_hub(form, task, split) for split in ("train", data.evaluation_split)
        )
    else:
        root = data_root(data, cache)
        train, evaluation = (
            read_glue(root, form, task, split) for split in ("train", data.evaluation_split)
        )
    return split_rows(train, evaluation, data)


def load_squad(data: DataConfig, cache: Path) -> Splits[Question]:
    """Questions of SQuAD v2, from the source that ``data`` names.

    Raises:
        UserError: If a file is missing or malformed, a split is empty, or the hub is not there.
    """
    if data.name == "hub":
        train, evaluation = read_hub_squad("train"), read_hub_squad(data.evaluation_split)
    else:
        root = data_root(data, cache)
        train, evaluation = (
            read_squad(find_squad(root, split)) for split in ("train", data.evaluation_split)
        )
    return split_questions(train, evaluation, data)


def load_corpus(data: DataConfig, cache: Path) -> Splits[Row]:
    """Documents for language modelling: train, and ``valid`` as validation and evaluation.

    Raises:
        UserError: If the hub is asked for: it holds no corpus of ours.
    """
    if data.name == "hub":
        raise UserError("task=pretrain has no corpus on the hub; use data=embedded or data=local")
    root = data_root(data, cache)
    train, valid = read_corpus(root, "train"), read_corpus(root, "valid")
    return Splits(train[: data.train_rows], valid, valid)


def load_retention_text(data: DataConfig, cache: Path) -> list[Row]:
    """Held-out text that belongs to no task, from the source that ``data`` names.

    Returns:
        Nothing where there is none.

    Raises:
        UserError: If its file is damaged.
    """
    return (
        read_hub_retention_text()
        if data.name == "hub"
        else read_retention_text(data_root(data, cache))
    )


def data_root(data: DataConfig, cache: Path) -> Path:
    """The folder with the official files; the embedded ones are written on first use."""
    if data.name == "local":
        return Path(data.root)
    from loradrift.data.embedded import write_embedded

    sources = sorted(Path(__file__).parent.glob("embedded/*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]

    def make(root: Path) -> None:
        write_embedded(root, seed=data.seed)
        (root / "complete").touch()

    return cached(
        cache / "data" / f"embedded-{digest}-seed={data.seed}", make, folder_with("complete")
    )
