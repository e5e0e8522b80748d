"""What a report is made of: the same blocks become a page and a PDF."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import pandas as pd

NUMBER = re.compile(r"-|(< )?(-?\d[\d.,]*(e[+-]?\d+)?|-?inf)( \(.*\))?")
"""A cell with a number, that of chance after it in brackets, or with none."""

LONG = 12
"""A table with more rows is folded on a page."""

WORDS = {"lr": "learning rate", "head_lr": "head's learning rate", "ci_lower": "95 % from",
         "ci_upper": "95 % to", "std": "standard deviation"}  # fmt: skip
"""Names of columns that are no words without their underscores."""


@dataclass(frozen=True)
class Answer:
    """The sentence that a page is there for, before everything else."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Short facts, each with its name."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Card:
    """A claim with its verdict, and what that is read from, line by line."""

    name: str
    claim: str
    verdict: str
    lines: Sequence[str]
    color: str
    """Of the verdict."""


@dataclass(frozen=True)
class Cards:
    """Cards side by side, where there is room."""

    cards: Sequence[Card]


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Columns by their names in words; numbers are written with so many ``digits``."""

    frame: pd.DataFrame
    caption: str
    digits: int = 3

    def headings(self) -> list[str]:
        """Names of the columns, in words."""
        return in_words(self.frame.columns)

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        rows = self.frame.itertuples(index=False)
        return [[cell_text(value, self.digits) for value in row] for row in rows]

    def text_columns(self) -> list[bool]:
        """Which columns hold words, and are written from the left; the others hold numbers."""
        rows, places = self.cells(), range(len(self.frame.columns))
        return [not all(NUMBER.fullmatch(row[place]) for row in rows) for place in places]


@dataclass(frozen=True)
class Figure:
    """A drawing in ``figures/``, by name."""

    name: str
    caption: str
    alt: str = ""
    """What a reader hears who does not see it; the caption where it is empty."""


def in_words(names: Iterable[object]) -> list[str]:
    """Names of columns in words; of a key (``method.optim.lr``) the last part, if it is no other's.

    A name with a blank is in words already.
    """
    texts = [str(name) for name in names]
    short = [name if " " in name else name.rpartition(".")[2] for name in texts]
    count = Counter(short)
    chosen = [last if count[last] == 1 else name for last, name in zip(short, texts, strict=True)]
    return [WORDS.get(name, name.replace("_", " ").replace(".", " ")) if " " not in name else name
            for name in chosen]  # fmt: skip


def cell_text(value: object, digits: int = 3) -> str:
    """A value as a table shows it."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        whole = math.isfinite(value) and abs(value) >= 1000
        return f"{value:,.0f}" if whole else f"{value:.{digits}g}"
    return str(value)


def p_text(p: float | None) -> str:
    """A p-value as a table shows it: none below 0.001 has digits."""
    if p is None or math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_says(p: float | None) -> str:
    """``p = 0.02``, ``p < 0.001``."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval_text(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval as a table shows it; a dash where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "-"
    return f"{low:.{digits}g} to {high:.{digits}g}"


def anchor(heading: str) -> str:
    """What links to a section name."""
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def with_content(blocks: Sequence["Block"]) -> list["Block"]:
    """The blocks without headings that head nothing."""
    pairs = zip_longest(blocks, blocks[1:])
    return [
        block
        for block, after in pairs
        if not (isinstance(block, Heading) and (after is None or isinstance(after, Heading)))
    ]


Block = Answer | Facts | Cards | Heading | Paragraph | Table | Figure
