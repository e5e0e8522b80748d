"""Rows as every loader gives them: text and label, by split."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from loradrift.config import UserError
from loradrift.config.errors import refuse_pointer


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
    validation: list[AnyRow]
    """Held out of the official training split; chooses the best checkpoint."""

    evaluation: list[AnyRow]
    """The reported split; no choice is made on it."""

    counts: Mapping[str, int] = {}
    """Further numbers for the run's record, such as how many examples were left out, and why."""

    @property
    def rows(self) -> tuple[list[AnyRow], list[AnyRow], list[AnyRow]]:
        """The rows of the three splits."""
        return self.train, self.validation, self.evaluation


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file (:func:`read_text`).

    A line ends in LF or CR LF; in a file without any LF, in CR.
    """
    text = read_text(path)
    return text.split("\n" if "\n" in text else "\r")


def read_text(path: Path) -> str:
    """A UTF-8 text file, without its byte-order mark; ``.gz`` is unpacked.

    Raises:
        UserError: If a line is not UTF-8, the archive is damaged, or git-lfs has not fetched the
            file; names file and line.
    """
    refuse_pointer(path)
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged: {error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from None


def rows_fingerprint(rows: Iterable[tuple[object, ...]]) -> str:
    """Digest (sha256) of ids, texts and labels (or answers), in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
