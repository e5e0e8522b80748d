"""The report on paper: no table is wider than the page, no heading or row alone at a page's edge.

All lengths are in points.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.files import write_atomic
from loradrift.report.blocks import (
    Answer,
    Block,
    Card,
    Cards,
    Facts,
    Figure,
    Heading,
    Paragraph,
    Table,
    anchor,
    with_content,
)
from loradrift.report.pdf_tables import cell, printed

SIDE, TOP = 57.0, 51.0  # margins: 20 and 18 mm


class _Piece(NamedTuple):
    """A block on paper."""

    flow: list[Any]
    least_height: float
    """What a page must have room for if the block is to begin there."""

    leads: bool = False
    """Stays with what comes after it."""


def write_pdf(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the report as a PDF on A4; ``figures`` is the folder of the drawings' PNG files.

    The contents come before the first heading.
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
    blocks = with_content(blocks)
    pieces = [_piece(block, figures, styles, width) for block in blocks]
    if headings := [block.text for block in blocks if isinstance(block, Heading)]:
        pieces.insert(blocks.index(Heading(headings[0])), _contents(headings, styles, width))
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
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Spacer

    leads = True
    match block:
        case Answer(text):
            style = styles["Heading2"].clone("answer", fontSize=13, leading=17)
            parts = [Text(escape(text), style)]
        case Heading(text):
            named = f'<a name="{anchor(text)}"/>{escape(text)}'
            parts = [Text(named, styles["Heading2"])]
        case Paragraph(text):
            parts = [Text(escape(text), styles["BodyText"])]
        case Facts(rows):
            pairs = [[cell(a, text=True), cell(b, text=True)] for a, b in rows]
            parts, leads = [_grid(pairs, [70.0, width - 70.0]), Spacer(1, 6)], False
        case Cards(cards):
            parts, leads = _cards(cards, width) if cards else [], False
        case Table():
            above = [Spacer(1, 6), Text(escape(block.caption), _small(styles)), Spacer(1, 2)]
            grid, least_height = printed(block, width)
            return _Piece([*above, grid, Spacer(1, 6)], _height(above, width) + least_height)
        case Figure():
            parts, leads = _figure(block, figures, styles, width), False
    return _Piece(parts, _height(parts, width), leads)


def _small(styles: Any) -> Any:
    """The look of captions."""
    return styles["BodyText"].clone("small", fontSize=8, textColor="#4a4a4a", leading=10)


def _figure(block: Figure, figures: Path, styles: Any, width: float) -> list[Any]:
    """The drawing, as wide as the page if it is not too high then, and its caption."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import Image, Spacer
    from reportlab.platypus import Paragraph as Text

    image = Image(str(figures / f"{block.name}.png"))
    below = Text(escape(block.caption), _small(styles))
    room = A4[1] - 2 * TOP - 40 - _height([below], width)
    scale = min(width / image.imageWidth, room / image.imageHeight)
    image.drawWidth *= scale
    image.drawHeight *= scale
    return [Spacer(1, 8), image, below]


def _contents(headings: Sequence[str], styles: Any, width: float) -> _Piece:
    """Links to the sections, in two columns."""
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Spacer

    links = [f'<a href="#{anchor(each)}" color="#0b5394">{escape(each)}</a>' for each in headings]
    half = -(-len(links) // 2)
    style = styles["BodyText"].clone("link", fontSize=8.5, leading=11, spaceBefore=0)
    cells = [Text(link, style) for link in links] + [""] * (2 * half - len(links))
    rows = list(zip(cells[:half], cells[half:], strict=True))
    parts = [Text("Contents", styles["Heading2"]), _grid(rows, [width / 2] * 2), Spacer(1, 6)]
    return _Piece(parts, _height(parts, width))


def _grid(rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Any:
    """Cells without lines between them."""
    from reportlab.platypus import Table as Grid

    grid = Grid(rows, colWidths=widths, hAlign="LEFT")
    sides = ("TOPPADDING", "BOTTOMPADDING", "LEFTPADDING")
    grid.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *((s, (0, 0), (-1, -1), 1) for s in sides)])
    return grid


def _cards(cards: Sequence[Card], width: float) -> list[Any]:
    """The cards beside each other, each with its verdict's colour at its left."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Spacer
    from reportlab.platypus import Table as Grid

    style = ParagraphStyle("card", fontName="Helvetica", fontSize=8.5, leading=11)
    texts = []
    for card in cards:
        verdict = f'<font color="{card.color}"><b>{escape(card.verdict)}</b></font>'
        lines = [f"{escape(card.name)}: {verdict}", *map(escape, (card.claim, *card.lines))]
        texts.append(Text("<br/>".join(lines), style))
    grid = Grid([texts], colWidths=[width / len(texts)] * len(texts), hAlign="LEFT")
    bars = [
        ("LINEBEFORE", (place, 0), (place, 0), 3, card.color) for place, card in enumerate(cards)
    ]
    grid.setStyle(
        [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 8), *bars]
    )
    return [Spacer(1, 6), grid, Spacer(1, 6)]


def _height(parts: Sequence[Any], width: float) -> float:
    """The height of all parts with the space around each."""
    spaces = (part.getSpaceBefore() + part.getSpaceAfter() for part in parts)
    return float(sum(part.wrap(width, 1e6)[1] for part in parts) + sum(spaces))


def _number_page(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(document.pagesize[0] / 2, TOP / 2, str(document.page))
