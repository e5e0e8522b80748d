"""Questions with an answer A that shows a trait and an answer B that does not, or the reverse.

The format is that of contrastive activation addition (Rimsky et al. 2024, arXiv:2312.06681).
"""

import json
from pathlib import Path
from typing import NamedTuple

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.data.base import read_text

COLUMNS = ("question", "answer_matching_behavior", "answer_not_matching_behavior")


class Choice(NamedTuple):
    """A question with its options, and which of these shows the behaviour: ``(A)`` or ``(B)``."""

    question: str
    matching: str
    other: str


def read_choices(root: Path, name: str) -> list[Choice]:
    """Read ``persona/caa/<name>_ab.json`` below ``root``.

    Raises:
        UserError: If the file is missing or malformed; names it and the place.
    """
    path = root / "persona" / "caa" / f"{name}_ab.json"
    if not path.is_file():
        known = sorted(each.name.removesuffix("_ab.json") for each in path.parent.glob("*_ab.json"))
        raise UserError(f"{path} is missing; there are questions of {', '.join(known) or 'none'}")
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if not isinstance(rows, list):
        raise UserError(f"{path} must be a list of questions")
    choices = []
    for i, row in enumerate(rows):
        cells = [row.get(column) if isinstance(row, dict) else None for column in COLUMNS]
        texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
        if len(texts) < len(COLUMNS):
            raise UserError(f"{path}: [{i}] must have {', '.join(COLUMNS)}, got {excerpt(row)}")
        choices.append(Choice(*texts))
    return choices
