"""What a report is made of: the same blocks become a page and a PDF."""

import math
import re
from dataclasses import dataclass

import pandas as pd

NUMBER = re.compile(r"-|(-?\d[\d.,]*(e[+-]?\d+)?|-?inf)( \(.*\))?")
"""A cell with a number, that of chance after it in brackets, or with none."""


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
    """Columns as they are named; numbers are written as given, with ``digits``."""

    frame: pd.DataFrame
    caption: str
    digits: int = 3

    def headings(self) -> list[str]:
        """Names of the columns, in words, so that they wrap; keys (``method.rank``) as typed."""
        names = map(str, self.frame.columns)
        return [name if "." in name else name.replace("_", " ") for name in names]

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


def cell_text(value: object, digits: int = 3) -> str:
    """A value as a table shows it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def interval_text(low: float, high: float, digits: int = 3) -> str:
    """An interval as a table shows it; a dash where there is none."""
    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{low:.{digits}g} to {high:.{digits}g}"


Block = Heading | Paragraph | Table | Figure
