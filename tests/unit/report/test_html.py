"""One page: contents, folded tables, cards, figures with words for those who do not see them."""

import re

import pandas as pd
import pytest

from loradrift.report.blocks import (
    LONG,
    Answer,
    Card,
    Cards,
    Facts,
    Figure,
    Heading,
    Paragraph,
    Table,
    cell_text,
    in_words,
    p_says,
    p_text,
)
from loradrift.report.html import write_html
from loradrift.report.pdf import write_pdf
from loradrift.report.style import canvas, save


def table(rows):
    return Table(pd.DataFrame({"ratio_upper_any_text": [0.5] * rows, "p_t": "< 0.001"}), "Rows.")


@pytest.fixture
def page(tmp_path):
    """What a page of these blocks is."""

    def write(*blocks):
        write_html(tmp_path / "page.html", "Title", blocks, tmp_path)
        return (tmp_path / "page.html").read_text()

    return write


def test_each_section_is_linked_and_a_heading_of_nothing_is_left_out(page):
    text = page(
        Answer("Yes."), Heading("Empty"), Heading("Layers, & more"), table(1), Heading("Last")
    )
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', text)
    assert links == [("layers-more", "Layers, &amp; more")]
    assert '<h2 id="layers-more">' in text and "Empty" not in text and "Last" not in text
    assert text.index("Yes.") < text.index("<nav") < text.index('<h2 id="layers-more">')
    assert "<nav" not in page(Answer("Yes."))


@pytest.mark.parametrize("rows", [LONG, LONG + 1])
def test_only_long_tables_are_folded_and_each_scrolls_in_a_box_of_its_own(page, rows):
    text = page(table(rows))
    assert ("<details><summary" in text and f"({rows} rows)" in text) is (rows > LONG)
    assert '<div class="scroll"><table' in text and ".scroll { overflow-x: auto; }" in text


def test_a_phone_reads_it(page):
    text = page(table(1))
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    style = re.search("<style>(.*)</style>", text, re.DOTALL)[1]
    assert "font: 16px" in style and "max-width: 100%" in style
    narrow = style.partition("@media (max-width: 40rem)")[2]
    assert re.search(r"table, .*\{ font-size: 1rem; \}", narrow)
    for color in re.findall(r"[^-]color: (#\w+)", style):
        assert contrast_on_white(color) > 4.5, color


def contrast_on_white(color):
    """The contrast ratio of WCAG 2."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 1.05 / (sum(a * b for a, b in zip(linear, (0.2126, 0.7152, 0.0722), strict=True)) + 0.05)


def test_cards_show_claim_and_verdict_and_none_take_no_room(page):
    card = Card("H2 drift", "LoRA drifts less", "refuted", ["p = 0.01"], "#B34700")
    text = page(Cards([card]))
    assert text.index("H2 drift") < text.index("refuted</strong>") < text.index("p = 0.01")
    assert contrast_on_white(card.color) > 4.5
    assert 'class="card' not in page(Cards([]))


def test_a_drawing_has_words_and_commands_are_code(page, tmp_path):
    with canvas(1) as (figure, _):
        save(figure, tmp_path, "one")
    text = page(Figure("one", "A caption.", 'Ratios: "1.2".'), Paragraph("Type `train.py a=1`."))
    assert '<svg role="img" aria-label="Ratios: &quot;1.2&quot;."' in text
    assert "<figcaption>A caption.</figcaption>" in text and text.count("<svg") == 1
    assert "<code>train.py a=1</code>" in text
    assert 'aria-label="A caption."' in page(Figure("one", "A caption."))


def test_heads_are_words_and_keys_their_last_part_where_that_is_no_other_s():
    assert in_words(["task", "p_holm", "method.optim.lr", "95 % interval", "ci_lower"]) == [
        "task", "p holm", "learning rate", "95 % interval", "95 % from",
    ]  # fmt: skip
    assert in_words(["method.optim.lr", "other.lr"]) == ["method optim lr", "other lr"]
    assert not any("_" in head for head in table(1).headings())


def test_numbers_are_written_as_they_are_read():
    assert [cell_text(x) for x in (9600.0, 0.12345, 1e-9, float("nan"), None, pd.NA, 12)] == [
        "9,600", "0.123", "1e-09", "-", "-", "-", "12",
    ]  # fmt: skip
    assert [p_text(p) for p in (0.000999, 0.001, 0.0412, 1.0, None)] == [
        "< 0.001", "0.001", "0.041", "1", "-",
    ]  # fmt: skip
    assert (p_says(1e-9), p_says(0.25)) == ("p < 0.001", "p = 0.25")
    assert table(2).text_columns() == [False, False]


def test_paper_has_every_kind_of_block_and_no_drawing_is_higher_than_a_page(tmp_path):
    with canvas(1, height=30.0) as (figure, _):
        save(figure, tmp_path, "tall")
    card = Card("H1", "A claim.", "supported", ["p = 0.01"], "#00694D")
    blocks = [
        Answer("Yes."), Facts([("Model", "tiny")]), Figure("tall", "Tall."), Cards([card]),
        Cards([]), Heading("Empty"), Heading("Rows"), Paragraph("Below."), table(90),
    ]  # fmt: skip
    write_pdf(tmp_path / "report.pdf", "Title", blocks, tmp_path)
    written = (tmp_path / "report.pdf").read_bytes()
    assert written.startswith(b"%PDF") and b"/Dest" in written  # the contents' links
