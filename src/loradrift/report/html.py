"""One HTML page that needs nothing else: figures are inside of it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from loradrift.files import write_atomic
from loradrift.report.blocks import Block, Figure, Heading, Paragraph, Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd; }
.text { text-align: left; }
thead th { border-bottom: 2px solid #888; }
caption, figcaption { text-align: left; color: #555; font-size: 13px; padding: 6px 0; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""


def write_html(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the page; ``figures`` is the folder of the drawings' SVG files.

    It loads nothing, so it opens without a network.
    """
    body = "\n".join(_block(block, figures) for block in blocks)
    text = (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    with write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _block(block: Block, figures: Path) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Table():
            return _table(block)
        case Figure(name, caption):
            svg = (figures / f"{name}.svg").read_text(encoding="utf-8")
            drawing = svg[svg.index("<svg") :]  # without the XML prologue
            return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    marks = [' class="text"' if text else "" for text in table.text_columns()]

    def row(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(texts, marks, strict=True)
        cells = "".join(f"<{tag}{mark}>{escape(text)}</{tag}>" for text, mark in pairs)
        return f"<tr>{cells}</tr>"

    rows = "\n".join(row("td", texts) for texts in table.cells())
    return (
        f'<div class="scroll"><table><caption>{escape(table.caption)}</caption>'
        f"<thead>{row('th', table.headings())}</thead>\n<tbody>{rows}</tbody></table></div>"
    )
