"""Labelled text pairs: CSV with ``text1``, ``text2``, ``label``, or MRPC's official TSV."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.base import read_lines
from loradrift.data.glue import FORMATS, parse_glue

COLUMNS = ("text1", "text2", "label")


class TextPair(NamedTuple):
    """Two texts, and how alike somebody found them."""

    line: int
    """Where it begins in the file, counted from 1."""

    text1: str
    text2: str
    label: float
    """Larger is more alike; 0 and 1 where it is a class."""


def read_pairs(path: Path) -> list[TextPair]:
    """Read either format; a first line with a tab in it says that it is MRPC's.

    CSV is quoted as RFC 4180 says; further columns are left alone; ``.gz`` is unpacked.

    Raises:
        UserError: If the file is missing or malformed; names file and line.
    """
    if not path.is_file():
        raise UserError(f"pairs={path} is no file")
    lines = read_lines(path)
    if not any(lines):
        raise UserError(f"{path} is empty")
    if "\t" in lines[0]:
        pairs = []
        for row in parse_glue(path, lines, FORMATS["mrpc"], "pair"):
            line = int(row.id.removeprefix("pair/")) + 2  # the header is line 1
            pairs.append(TextPair(line, row.text, str(row.pair), float(row.label)))
    else:
        pairs = _read_csv(path, lines)
    if not pairs:
        raise UserError(f"{path} holds no pairs")
    return pairs


def _read_csv(path: Path, lines: list[str]) -> list[TextPair]:
    # With their ends: a quoted text may go on in the next line.
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    line, pairs = 1, []
    try:
        header = [name.strip() for name in next(reader)]
        if missing := [name for name in COLUMNS if name not in header]:
            raise UserError(
                f"{path}, line 1: no column {', '.join(missing)} in {excerpt(', '.join(header))}; "
                f"the header must be {','.join(COLUMNS)} (MRPC's own file is separated by tabs)"
            )
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                pairs.append(_pair(f"{path}, line {line}", line, header, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}") from None
    return pairs


def _pair(where: str, line: int, header: list[str], cells: list[str]) -> TextPair:
    if len(cells) != len(header):
        raise UserError(f"{where}: expected {len(header)} cells, got {len(cells)}")
    named = dict(zip(header, cells, strict=True))
    text1, text2, written = (named[name].strip() for name in COLUMNS)
    if not (text1 and text2):
        raise UserError(f"{where}: a text is empty")
    try:
        label = float(written)
    except ValueError:
        label = math.nan
    if not math.isfinite(label):
        raise UserError(f"{where}: the label must be a number, got {excerpt(written) or 'nothing'}")
    return TextPair(line, text1, text2, label)
