"""A table on paper: no wider than the page, its words wrapped, no lone row at a page's edge."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from loradrift.report.blocks import Table

SIZE = 7.5
"""Of the letters, in points."""

PADDING = 4.0
"""Left and right of a cell, in points."""

KEPT = 3
"""Rows that stay together at the start of a table, below its head, and at its end."""


class Printed(NamedTuple):
    """A table, and what of it a page must have room for."""

    grid: Any
    least_height: float
    """Of the head and the first rows, in points."""


def printed(table: Table, width: float) -> Printed:
    """Lay a table out.

    Args:
        table: Its content.
        width: Of the page between its margins, in points.
    """
    from reportlab.lib import colors
    from reportlab.platypus import Table as Grid

    headings, cells, texts = table.headings(), table.cells(), table.text_columns()
    widths = column_widths(list(zip(headings, *cells, strict=True)), width)
    rows = [[_cell(name, text=t, bold=True) for name, t in zip(headings, texts, strict=True)]]
    rows += [[_cell(v, text=t) for v, t in zip(row, texts, strict=True)] for row in cells]
    grid = Grid(rows, colWidths=widths, repeatRows=1, hAlign="LEFT")
    grid.setStyle(
        [
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("VALIGN", (0, 1), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.gray),
            ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.lightgrey),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ("LEFTPADDING", (0, 0), (-1, -1), PADDING),
            ("RIGHTPADDING", (0, 0), (-1, -1), PADDING),
            ("NOSPLIT", (0, 0), (0, min(KEPT, len(cells)))),
            ("NOSPLIT", (0, max(0, len(rows) - KEPT)), (0, -1)),
        ]
    )
    grid.wrap(width, 1e6)  # fills in the heights
    return Printed(grid, sum(grid._rowHeights[: KEPT + 1]))


def column_widths(columns: Sequence[Sequence[str]], width: float) -> list[float]:
    """Widths that fit the page: as wide as the text where there is room for all.

    Otherwise headings wrap, then the widest columns shrink to one width, so that numbers stay on
    one line; if even the longest words do not fit side by side, all shrink alike, and words are
    broken.

    Args:
        columns: Each column's heading and cells.
        width: Of the page, in points.
    """
    unwrapped = [_needed(column) for column in columns]
    if sum(unwrapped) <= width:
        return unwrapped
    longest_words = [_needed(" ".join(column).split() or [""]) for column in columns]
    if sum(longest_words) >= width:
        return [one * width / sum(longest_words) for one in longest_words]
    one_line = [_needed([*heading.split(), *cells]) for heading, *cells in columns]
    low, high = 0.0, width
    for _ in range(40):  # halves the range of the widest width
        widest = (low + high) / 2
        if sum(_between(longest_words, one_line, widest)) > width:
            high = widest
        else:
            low = widest
    return _between(longest_words, one_line, low)


def _between(least: Sequence[float], most: Sequence[float], widest: float) -> list[float]:
    return [max(low, min(high, widest)) for low, high in zip(least, most, strict=True)]


def _needed(texts: Sequence[str]) -> float:
    return max(map(_string_width, texts)) + 2 * PADDING + 0.5  # rounding must not wrap a line


def _string_width(text: str) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return float(stringWidth(text, "Helvetica-Bold", SIZE))


def _cell(value: str, *, text: bool, bold: bool = False) -> Any:
    from reportlab.lib.enums import TA_LEFT, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle(
        "cell",
        fontName="Helvetica-Bold" if bold else "Helvetica",
        fontSize=SIZE,
        leading=SIZE + 1.5,
        alignment=TA_LEFT if text else TA_RIGHT,
    )
    together = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", value)
    return Paragraph(escape(together), style)
