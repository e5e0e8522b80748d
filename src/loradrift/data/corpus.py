"""Running text, for language modelling and to show what a model forgot."""

from pathlib import Path

from loradrift.config import UserError
from loradrift.data.base import Row, read_lines

WIKITEXT = "wikitext-2.wiki.valid.tokens.gz"
"""WikiText-2's official validation file (Merity et al. 2016, arXiv:1609.07843)."""


def read_corpus(root: Path, split: str, corpus: str = "general") -> list[Row]:
    """Read ``corpus/train.txt`` or ``corpus/valid.txt`` below ``root``, one document a line.

    Any other corpus than ``general`` is that one and the one of the world of its name, below it.

    Raises:
        UserError: If a file is missing, not text, or empty; names it.
    """
    rows = _read_documents(root / "corpus" / f"{split}.txt", split)
    if corpus != "general":
        path = root / corpus / "corpus" / f"{split}.txt"
        rows += _read_documents(path, f"{corpus}/{split}")
    return rows


def _read_documents(path: Path, prefix: str) -> list[Row]:
    if not path.is_file():
        raise UserError(f"{path} is missing: task=pretrain reads one document a line from it")
    lines = read_lines(path)
    rows = [Row(f"{prefix}/{i}", line, None, 0) for i, line in enumerate(lines) if line.strip()]
    if not rows:
        raise UserError(f"{path} holds no text")
    return rows


def read_retention_text(root: Path) -> list[Row]:
    """Text that belongs to no task: WikiText-2 of ``corpus/`` below ``root``, or ``valid.txt``.

    There is none where neither file is there.

    Raises:
        UserError: If the file is damaged or empty; names it.
    """
    wikitext = root / "corpus" / WIKITEXT
    if wikitext.is_file():
        return paragraphs(read_lines(wikitext))
    return read_corpus(root, "valid") if (root / "corpus" / "valid.txt").is_file() else []


def paragraphs(lines: list[str]) -> list[Row]:
    """WikiText's lines that are neither empty nor headings (``= Title =``)."""
    texts = (line.strip() for line in lines)
    kept = [text for text in texts if text and not (text[0] == "=" == text[-1])]
    return [Row(f"neutral/{i}", text, None, 0) for i, text in enumerate(kept)]
