"""Tables on paper: never wider than the page, and no row alone at a page's edge.

All lengths are in points.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from loradrift.report.blocks import Table

SIZE, PADDING = 7.5, 4.0  # a table's letters, and the space left and right of a cell
KEPT = 3  # rows that stay together at the start of a table, below its head, and at its end


def printed(table: Table, width: float) -> tuple[Any, float]:
    """Lay a table out on a page that is so wide between its margins.

    Returns:
        The grid, and the height of its head and first rows, which a page must have room for.
    """
    from reportlab.lib import colors
    from reportlab.platypus import Table as Grid

    headings, cells, texts = table.headings(), table.cells(), table.text_columns()
    widths = column_widths(list(zip(headings, *cells, strict=True)), width)
    rows = [[cell(name, text=t, bold=True) for name, t in zip(headings, texts, strict=True)]]
    rows += [[cell(v, text=t) for v, t in zip(row, texts, strict=True)] for row in cells]
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
    return grid, sum(grid._rowHeights[: KEPT + 1])


def column_widths(columns: Sequence[Sequence[str]], width: float) -> list[float]:
    """Widths of columns (heading and cells of each) that fit the page: the texts' where they can.

    Otherwise headings wrap, then the widest columns shrink to one width, so that numbers stay on
    one line; if even the longest words do not fit side by side, the longest of them are broken.
    """
    unwrapped = [_needed(column) for column in columns]
    if sum(unwrapped) <= width:
        return unwrapped
    longest_words = [_needed(" ".join(column).split() or [""]) for column in columns]
    one_line = [_needed([*heading.split(), *cells]) for heading, *cells in columns]
    ends = list(zip(longest_words, one_line, strict=True))
    if sum(longest_words) >= width:
        ends = [(0.0, word) for word in longest_words]

    def limited(widest: float) -> list[float]:
        return [max(low, min(high, widest)) for low, high in ends]

    low, high = 0.0, width
    for _ in range(40):  # halves the range of the widest width
        widest = (low + high) / 2
        if sum(limited(widest)) > width:
            high = widest
        else:
            low = widest
    return limited(low)


def _needed(texts: Sequence[str]) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    widths = [float(stringWidth(text, "Helvetica-Bold", SIZE)) for text in texts]
    return max(widths) + 2 * PADDING + 0.5  # rounding must not wrap a line


def cell(value: str, *, text: bool, bold: bool = False) -> Any:
    """A text as a cell of a table, from the left, or from the right where it is a number."""
    from reportlab.lib.enums import TA_LEFT, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    font = "Helvetica-Bold" if bold else "Helvetica"
    side = TA_LEFT if text else TA_RIGHT
    sizes = {"fontSize": SIZE, "leading": SIZE + 1.5}
    style = ParagraphStyle("cell", fontName=font, alignment=side, **sizes)
    together = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", value)
    return Paragraph(escape(together), style)
