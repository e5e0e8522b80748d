"""The report on paper."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from loradrift.files import write_atomic
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table


def write_pdf(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the report as a PDF on A4.

    Args:
        path: The file.
        title: Its title.
        blocks: Its content.
        figures: Folder of the drawings' PNG files.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import SimpleDocTemplate

    styles = getSampleStyleSheet()
    styles["Heading2"].keepWithNext = True
    width = A4[0] - 40 * mm
    flow: list[Any] = [Text(escape(title), styles["Title"])]
    for block in blocks:
        flow += _block(block, figures, styles, width)
    with write_atomic(path) as temporary:
        SimpleDocTemplate(
            str(temporary),
            pagesize=A4,
            title=title,
            leftMargin=20 * mm,
            rightMargin=20 * mm,
            topMargin=18 * mm,
            bottomMargin=18 * mm,
        ).build(flow)


def _block(block: Block, figures: Path, styles: Any, width: float) -> list[Any]:
    from reportlab.platypus import Image, KeepTogether, Spacer
    from reportlab.platypus import Paragraph as Text

    small = styles["BodyText"].clone("small", fontSize=8, textColor="#555555", leading=10)
    match block:
        case Heading(text):
            return [Text(escape(text), styles["Heading2"])]
        case Paragraph(text):
            return [Text(escape(text), styles["BodyText"])]
        case Table():
            return [Spacer(1, 6), Text(escape(block.caption), small), _table(block, width)]
        case Figure(name, caption):
            image = Image(str(figures / f"{name}.png"))
            scale = min(width, image.imageWidth * 72 / 300) / image.imageWidth
            image.drawWidth, image.drawHeight = (
                image.imageWidth * scale,
                image.imageHeight * scale,
            )
            return [KeepTogether([Spacer(1, 8), image, Text(escape(caption), small)])]


def _table(table: Table, width: float) -> Any:
    from reportlab.lib import colors
    from reportlab.platypus import Table as Grid

    rows = [[str(name) for name in table.frame.columns], *table.cells()]
    size = 7 if len(rows[0]) <= 9 else 5.5
    grid = Grid(rows, repeatRows=1, hAlign="LEFT")
    grid.setStyle(
        [
            ("FONTSIZE", (0, 0), (-1, -1), size),
            ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
            ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.gray),
            ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.lightgrey),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ]
    )
    return grid
