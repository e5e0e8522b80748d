"""Plain text for language modelling, one document a line."""

from pathlib import Path

from loradrift.config import UserError
from loradrift.data.base import Row, read_lines


def read_corpus(root: Path, split: str) -> list[Row]:
    """Read ``corpus/train.txt`` or ``corpus/valid.txt`` below ``root``; empty lines are skipped.

    Raises:
        UserError: If the file is missing, not text, or empty; names it.
    """
    path = root / "corpus" / f"{split}.txt"
    if not path.is_file():
        raise UserError(f"{path} is missing: task=pretrain reads one document a line from it")
    lines = read_lines(path)
    rows = [Row(f"{split}/{i}", line, None, 0) for i, line in enumerate(lines) if line.strip()]
    if not rows:
        raise UserError(f"{path} holds no text")
    return rows
