"""The report on paper."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.files import write_atomic
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table
from loradrift.report.pdf_tables import printed

SIDE, TOP = 57.0, 51.0
"""Margins, in points: 20 and 18 mm."""


class _Piece(NamedTuple):
    """A block on paper."""

    flow: list[Any]
    least_height: float
    """What a page must have room for if the block is to begin there, in points."""

    leads: bool = False
    """Stays with what comes after it."""


def write_pdf(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the report as a PDF on A4.

    Args:
        path: The file.
        title: Its title.
        blocks: Its content.
        figures: Folder of the drawings' PNG files.
    """
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
    with write_atomic(path) as temporary:
        SimpleDocTemplate(
            str(temporary),
            pagesize=A4,
            title=title,
            leftMargin=SIDE,
            rightMargin=SIDE,
            topMargin=TOP,
            bottomMargin=TOP,
        ).build(
            [Text(escape(title), styles["Title"]), *_flow(pieces)],
            onFirstPage=_number_page,
            onLaterPages=_number_page,
        )


def _flow(pieces: Sequence[_Piece]) -> list[Any]:
    """Everything in order; a page ends early rather than with a heading or a table's first row."""
    from reportlab.platypus import CondPageBreak

    flow: list[Any] = []
    waiting: list[_Piece] = []
    for piece in pieces:
        waiting.append(piece)
        if piece.leads:
            continue
        flow.append(CondPageBreak(sum(each.least_height for each in waiting)))
        flow += [part for each in waiting for part in each.flow]
        waiting = []
    return flow + [part for each in waiting for part in each.flow]


def _piece(block: Block, figures: Path, styles: Any, width: float) -> _Piece:
    from reportlab.platypus import Image, KeepTogether, Spacer
    from reportlab.platypus import Paragraph as Text

    small = styles["BodyText"].clone("small", fontSize=8, textColor="#555555", leading=10)
    match block:
        case Heading(text):
            heading = Text(escape(text), styles["Heading2"])
            return _Piece([heading], _height([heading], width), leads=True)
        case Paragraph(text):
            paragraph = Text(escape(text), styles["BodyText"])
            return _Piece([paragraph], _height([paragraph], width), leads=True)
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
    """With the space around each, in points."""
    spaces = (part.getSpaceBefore() + part.getSpaceAfter() for part in parts)
    return float(sum(part.wrap(width, 1e6)[1] for part in parts) + sum(spaces))


def _number_page(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(document.pagesize[0] / 2, TOP / 2, str(document.page))
