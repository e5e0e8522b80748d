"""Held-out running text that belongs to no task: on it, a model shows what it forgot."""

from pathlib import Path

from loradrift.data.base import Row, read_lines
from loradrift.data.corpus import read_corpus

WIKITEXT = "wikitext-2.wiki.valid.tokens.gz"
"""WikiText-2's official validation file (Merity et al. 2016, arXiv:1609.07843)."""


def read_retention_text(root: Path) -> list[Row]:
    """Documents of ``corpus/`` below ``root``, in order: WikiText-2, or else ``valid.txt``.

    Returns:
        Nothing if neither file is there.

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
