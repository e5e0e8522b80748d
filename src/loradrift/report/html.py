"""One HTML page that needs nothing else: figures are inside of it."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from loradrift.files import write_atomic
from loradrift.report.blocks import (
    LONG,
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

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 64rem; margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.3rem; margin: 0 0 0.4rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; }
a { color: #0b5394; }
.answer { font-size: 1.35rem; line-height: 1.35; font-weight: 600; margin: 0.4rem 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0 0 1rem;
     font-size: 0.9rem; }
dt { color: #4a4a4a; } dd { margin: 0; min-width: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 0.8rem;
         margin: 1rem 0; }
.card { border: 1px solid #c8c8c8; border-left: 5px solid; border-radius: 6px;
        padding: 0.6rem 0.9rem; font-size: 0.9rem; }
.card strong { font-size: 1.05rem; } .card p { margin: 0.2rem 0; color: #1b1b1b; }
nav ul { columns: 16rem; column-gap: 2.5rem; margin: 0; padding-left: 1.2rem; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd;
         vertical-align: top; }
th { vertical-align: bottom; }
.text { text-align: left; min-width: 5rem; }
thead th { border-bottom: 2px solid #777; }
.caption, figcaption { color: #4a4a4a; font-size: 0.9rem; margin: 1.2rem 0 0.4rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
summary { cursor: pointer; }
figure { margin: 1.2rem 0; } figure svg { width: 100%; max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
@media (max-width: 40rem) {
  body { margin: 0.8rem auto; }
  .answer { font-size: 1.15rem; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: 0.4rem; }
  dl, table, .card, .caption, figcaption { font-size: 1rem; }
}
"""


def write_html(path: Path, title: str, blocks: Sequence[Block], figures: Path) -> None:
    """Write the page; ``figures`` is the folder of the drawings' SVG files.

    It loads nothing, so it opens without a network. The contents come before the first heading.
    """
    blocks = with_content(blocks)
    parts = [_block(block, figures) for block in blocks]
    if headings := [block.text for block in blocks if isinstance(block, Heading)]:
        parts.insert(blocks.index(Heading(headings[0])), _contents(headings))
    body = "\n".join(parts)
    text = (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    with write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _contents(headings: Sequence[str]) -> str:
    links = [f'<li><a href="#{anchor(text)}">{escape(text)}</a></li>' for text in headings]
    return f'<nav aria-label="Contents"><h2>Contents</h2><ul>{"".join(links)}</ul></nav>'


def _block(block: Block, figures: Path) -> str:
    match block:
        case Answer(text):
            html = f'<p class="answer">{escape(text)}</p>'
        case Facts(rows):
            pairs = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in rows)
            html = f"<dl>{pairs}</dl>"
        case Cards(cards):
            html = f'<div class="cards">{"".join(map(_card, cards))}</div>' if cards else ""
        case Heading(text):
            html = f'<h2 id="{anchor(text)}">{escape(text)}</h2>'
        case Paragraph(text):
            html = f"<p>{_with_code(text)}</p>"
        case Table():
            html = _table(block)
        case Figure(name, caption, alt):
            svg = (figures / f"{name}.svg").read_text(encoding="utf-8")
            drawing = svg[svg.index("<svg") + len("<svg") :]  # without the XML prologue
            html = (
                f'<figure><svg role="img" aria-label="{escape(alt or caption)}"{drawing}'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
    return html


def _with_code(text: str) -> str:
    """A text whose commands are in backticks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _card(card: Card) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in (card.claim, *card.lines))
    return (
        f'<div class="card" style="border-left-color: {card.color}">{escape(card.name)}: '
        f'<strong style="color: {card.color}">{escape(card.verdict)}</strong>{lines}</div>'
    )


def _table(table: Table) -> str:
    """The caption, and the table in a box of its own that scrolls; folded where it is long."""
    marks = [' class="text"' if text else "" for text in table.text_columns()]

    def row(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(texts, marks, strict=True)
        cells = "".join(f"<{tag}{mark}>{_with_code(text)}</{tag}>" for text, mark in pairs)
        return f"<tr>{cells}</tr>"

    cells, caption = table.cells(), escape(table.caption)
    rows = "\n".join(row("td", texts) for texts in cells)
    grid = (
        f'<div class="scroll"><table aria-label="{caption}"><thead>{row("th", table.headings())}'
        f"</thead>\n<tbody>{rows}</tbody></table></div>"
    )
    if len(cells) <= LONG:
        return f'<p class="caption">{caption}</p>{grid}'
    return (
        f'<details><summary class="caption">{caption} ({len(cells)} rows)</summary>{grid}</details>'
    )
