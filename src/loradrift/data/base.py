"""Rows as every loader gives them: text and label, by split."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from loradrift.config import DataConfig, UserError
from loradrift.data.leakage_groups import leakage_groups


class Row(NamedTuple):
    """One example: an id that never changes, one or two texts, and a label."""

    id: str
    text: str
    pair: str | None
    label: int


class Example(NamedTuple):
    """One example of a text to be continued: the loss is on the target's tokens alone."""

    id: str
    prompt: str
    """Empty in language modelling."""

    target: str


AnyRow = TypeVar("AnyRow")


class Splits(NamedTuple, Generic[AnyRow]):
    """Disjoint rows of one task."""

    train: list[AnyRow]
    """Learned from."""

    validation: list[AnyRow]
    """Held out of the official training split; chooses the best checkpoint."""

    evaluation: list[AnyRow]
    """The reported split; no choice is made on it."""


def split_rows(train: Sequence[Row], evaluation: Sequence[Row], data: DataConfig) -> Splits[Row]:
    """Hold validation rows out of the training rows, then cut these to ``data.train_rows``.

    Validation rows are whole texts, like the rows of the evaluation split. Training rows that are
    pieces of one (:func:`.leakage_groups.leakage_groups`) would give it away and are left out.

    Args:
        train: The official training split.
        evaluation: The split to report.
        data: Gives the seed of the draw and the sizes.

    Raises:
        UserError: If a split is empty, or fewer training rows are left than asked for.
    """
    if not evaluation:
        raise UserError(f"the {data.evaluation_split} split is empty")
    root = leakage_groups([row.text for row in train])
    order = list(range(len(train)))
    random.Random(data.seed).shuffle(order)
    wholes = [i for i in order if root[i] == i]
    held_out = set(wholes[: min(data.validation_rows, len(wholes) // 10)])
    if not held_out:
        raise UserError(f"the train split has {len(wholes)} texts; at least 10 are needed")
    rest = [i for i in order if root[i] not in held_out]
    if data.train_rows is not None and data.train_rows > len(rest):
        raise UserError(
            f"data.train_rows must be at most {len(rest)} (the train split without its "
            f"{len(held_out)} validation rows and their pieces), got {data.train_rows}"
        )
    return Splits(
        [train[i] for i in sorted(rest[: data.train_rows])],
        [train[i] for i in sorted(held_out)],
        list(evaluation),
    )


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file, without its byte-order mark; ``.gz`` is unpacked.

    Raises:
        UserError: If a line is not UTF-8, or the archive is damaged; names file and line.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged: {error}") from None
    try:
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from None


def rows_fingerprint(rows: Iterable[tuple[object, ...]]) -> str:
    """Digest (sha256) of ids, texts and labels (or answers), in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
