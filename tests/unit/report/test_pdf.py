"""The report on paper: nothing wider than the page, no lone heading, no lone row."""

import pandas as pd
import pytest

from loradrift.report.blocks import Heading, Paragraph, Table
from loradrift.report.pdf import KEPT, _flow, _piece, column_widths, printed

WIDTH, ROOMY = 470.0, 10_000.0
NOTE = "the exact test cannot reach 0.05 with so few blocks; " * 4


def rows(number):
    return Table(pd.DataFrame({"task": ["mrpc"] * number, "drift": [0.25] * number}), "Rows.")


@pytest.mark.parametrize("head", ["a heading of words", "unbreakable" * 3])
def test_no_table_is_wider_than_the_page(head):
    for columns in ([("claim", NOTE), ("p", "0.25"), ("note", NOTE)], [(head, "0.25")] * 12):
        assert sum(column_widths(columns, WIDTH)) <= WIDTH + 1e-6


def test_numbers_stay_on_one_line_and_texts_too_where_there_is_room():
    short, long = column_widths([("a", "1"), ("two words", "1")], ROOMY)
    assert short < long < 60
    _, number, _ = column_widths([("claim", NOTE), ("95 % from", "-10.3"), ("note", NOTE)], WIDTH)
    assert number == column_widths([("from", "-10.3")], ROOMY)[0]


def test_a_long_note_wraps_inside_its_table():
    grid, _ = printed(Table(pd.DataFrame({"p": [0.25], "note": [NOTE]}), "Notes."), WIDTH)
    assert grid.wrap(WIDTH, ROOMY)[0] <= WIDTH
    assert grid._rowHeights[1] > 1.5 * grid._rowHeights[0]


@pytest.mark.parametrize("room_for", range(1, 9))
def test_rows_at_a_page_edge_are_not_alone(room_for):
    grid, _ = printed(rows(8), WIDTH)
    parts = grid.split(WIDTH, sum(grid._rowHeights[: 1 + room_for]) + 0.1)
    numbers = [len(part._cellvalues) - 1 for part in parts]  # each below its repeated head
    assert numbers in ([], [8]) or min(numbers) >= KEPT


def test_a_heading_asks_for_room_for_what_it_heads(tmp_path):
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import CondPageBreak

    styles = getSampleStyleSheet()
    blocks = [Heading("Layers"), Paragraph("What they are."), rows(8)]
    pieces = [_piece(block, tmp_path, styles, WIDTH) for block in blocks]
    first, *others = _flow(pieces)
    assert isinstance(first, CondPageBreak)
    assert not any(isinstance(part, CondPageBreak) for part in others)
    assert first.height == sum(piece.least_height for piece in pieces)
    assert pieces[2].least_height > printed(rows(8), WIDTH)[1]


def test_which_columns_hold_words_and_how_they_are_headed():
    kinds = {"commit": "123abc", "p": 1e-06, "overlap": "0.12 (0.05)", "none": None}
    frame = pd.DataFrame([kinds | {"holds": True, "seed": 3}])
    assert Table(frame, "All kinds.").text_columns() == [True, False, False, False, True, False]
    table = Table(pd.DataFrame(columns=["p_holm", "method.optim.warmup_ratio"]), "")
    assert table.headings() == ["p holm", "method.optim.warmup_ratio"]
