"""The report on paper: no table is wider than the page, no heading or row alone at a page's edge.

All lengths are in points.
"""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.files import write_atomic
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table

SIDE, TOP = 57.0, 51.0  # margins: 20 and 18 mm
SIZE, PADDING = 7.5, 4.0  # a table's letters, and the space left and right of a cell
KEPT = 3  # rows that stay together at the start of a table, below its head, and at its end


class _Piece(NamedTuple):
    """A block on paper."""

    flow: list[Any]
    least_height: float
    """What a page must have room for if the block is to begin there."""

    leads: bool = False
    """Stays with what comes after it."""


def write_pdf(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the report as a PDF on A4; ``figures`` is the folder of the drawings' PNG files."""
    from reportlab import rl_config
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import SimpleDocTemplate

    rl_config.useA85 = 0  # bytes as they are: a fifth less, and no encoding in Python
    styles = getSampleStyleSheet()
    # A frame has 6 points of padding of its own on each side.
    width = A4[0] - 2 * SIDE - 12
    pieces = [_piece(block, figures, styles, width) for block in blocks]
    flow = [Text(escape(title), styles["Title"]), *_flow(pieces)]
    sides = dict.fromkeys(("leftMargin", "rightMargin"), SIDE)
    margins = sides | dict.fromkeys(("topMargin", "bottomMargin"), TOP)
    with write_atomic(path) as temporary:
        document = SimpleDocTemplate(str(temporary), pagesize=A4, title=title, **margins)
        document.build(flow, onFirstPage=_number_page, onLaterPages=_number_page)


def _flow(pieces: Sequence[_Piece]) -> list[Any]:
    """Everything in order; a page ends early rather than with a heading or a table's first row."""
    from reportlab.platypus import CondPageBreak

    flow: list[Any] = []
    waiting: list[_Piece] = []
    for piece in pieces:
        waiting.append(piece)
        if not piece.leads:
            flow.append(CondPageBreak(sum(each.least_height for each in waiting)))
            flow += [part for each in waiting for part in each.flow]
            waiting = []
    return flow + [part for each in waiting for part in each.flow]


def _piece(block: Block, figures: Path, styles: Any, width: float) -> _Piece:
    from reportlab.platypus import Image, KeepTogether, Spacer
    from reportlab.platypus import Paragraph as Text

    small = styles["BodyText"].clone("small", fontSize=8, textColor="#555555", leading=10)
    match block:
        case Heading(text) | Paragraph(text):
            style = styles["Heading2" if isinstance(block, Heading) else "BodyText"]
            parts = [Text(escape(text), style)]
            return _Piece(parts, _height(parts, width), leads=True)
        case Table():
            above = [Spacer(1, 6), Text(escape(block.caption), small), Spacer(1, 2)]
            grid, least_height = printed(block, width)
            return _Piece([*above, grid, Spacer(1, 6)], _height(above, width) + least_height)
        case Figure(name, caption):
            image = Image(str(figures / f"{name}.png"))
            scale = min(width, image.imageWidth * 72 / 300) / image.imageWidth
            image.drawWidth *= scale
            image.drawHeight *= scale
            parts = [Spacer(1, 8), image, Text(escape(caption), small)]
            return _Piece([KeepTogether(parts)], _height(parts, width))


def _height(parts: Sequence[Any], width: float) -> float:
    """The height of all parts with the space around each."""
    spaces = (part.getSpaceBefore() + part.getSpaceAfter() for part in parts)
    return float(sum(part.wrap(width, 1e6)[1] for part in parts) + sum(spaces))


def _number_page(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(document.pagesize[0] / 2, TOP / 2, str(document.page))


def printed(table: Table, width: float) -> tuple[Any, float]:
    """Lay a table out on a page that is so wide between its margins.

    Returns:
        The grid, and the height of its head and first rows, which a page must have room for.
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


def _cell(value: str, *, text: bool, bold: bool = False) -> Any:
    from reportlab.lib.enums import TA_LEFT, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    font = "Helvetica-Bold" if bold else "Helvetica"
    side = TA_LEFT if text else TA_RIGHT
    sizes = {"fontSize": SIZE, "leading": SIZE + 1.5}
    style = ParagraphStyle("cell", fontName=font, alignment=side, **sizes)
    together = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", value)
    return Paragraph(escape(together), style)
