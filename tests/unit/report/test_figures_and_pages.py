"""Figures: what they write and mark. Pages: nothing wider than they are, no lone heading or row."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import CondPageBreak

from loradrift.analysis.drift import figures
from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypotheses import HYPOTHESES, Outcome
from loradrift.analysis.drift.ratio_figures import hypothesis
from loradrift.analysis.weights import figures as weight_figures
from loradrift.report import style
from loradrift.report.blocks import Heading, Paragraph, Table
from loradrift.report.pdf import _flow, _piece
from loradrift.report.pdf_tables import KEPT, column_widths, printed
from loradrift.report.style import canvas, few_ticks, finish_panels, ratio_axis, save
from loradrift.report.verdicts import Verdict

PRINTED = style.DPI  # before a test makes it smaller
WIDTH, ROOMY = 470.0, 10_000.0
NOTE = "the exact test cannot reach 0.05 with so few blocks; " * 4


def test_cells_have_the_digits_of_their_scale():
    for value, limit, text in (
        (0.0123, 0.03, "+.012"), (-0.0123, 0.03, "\N{MINUS SIGN}.012"), (-0.0001, 0.03, "0"),
        (0.25, 0.9, "+.25"), (-1.04, 1.2, "\N{MINUS SIGN}1.0"),
    ):  # fmt: skip
        assert figures.signed(value, limit) == text


def test_bitmaps_can_be_printed(monkeypatch, tmp_path):
    monkeypatch.setattr(style, "DPI", PRINTED)
    with canvas(1) as (figure, _):
        save(figure, tmp_path, "one")
        inches = figure.get_size_inches()
    height, width, _ = imread(tmp_path / "one.png").shape
    assert (width, height) == pytest.approx(300 * inches, abs=1)
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("interval", [(0.998, 1.004), (0.02, 90.0), (None, None)])
def test_each_hypothesis_shows_its_margin_and_its_whole_interval(interval):
    lower, upper = interval
    claim = {"hypothesis": HYPOTHESES[0], "verdict": Verdict.UNDECIDED, "ratio": 1.001}
    wider = {"verdict_lower": lower and lower / 2, "verdict_upper": upper and upper * 2}
    outcome = Outcome(**claim, ratio_lower=lower, ratio_upper=upper, **wider)
    with canvas(1) as (_, [axes]):
        hypothesis(axes, outcome)
        low, high = axes.get_xlim()
        assert low < min(0.97, (lower or 2) / 2) and high > max(1, 2 * (upper or 0))
        assert any(list(line.get_xdata()) == [0.97, 0.97] for line in axes.lines)


def test_a_ratio_and_its_reciprocal_are_as_far_from_1():
    for low, high in ((0.25, 4), (0.95, 1.05), (0.9, 1.9), (1e-3, 30)):
        with canvas(1) as (figure, [axes]):
            ratio_axis(axes, low, high)
            figure.canvas.draw()
            places = axes.transAxes.inverted().transform(
                [axes.transData.transform((each, 0)) for each in (low, 1, high)]
            )[:, 0]
            assert places[0] > 0 and places[2] < 1
            share = np.log(1 / low) / np.log(high / low)
            assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(share)
            ticks = [tick for tick in axes.xaxis.get_major_locator()() if low <= tick <= high]
            assert 2 <= len(ticks) <= 8, (low, high, ticks)


def test_a_single_validation_has_no_line_in_the_legend():
    points = {"method": ["lora", "full_finetune"], "seed": 1, "score": 0.5, "drift": [0.1, 0.2]}
    frontier = pd.DataFrame(points | {"task": "sst2"})
    runs = pd.DataFrame({"task": ["sst2"], "metric": "accuracy"})
    tables = SimpleNamespace(arms=Arms.of(), frontier=frontier, runs=runs)
    with canvas(1) as (_, [axes]):
        figures.frontier(axes, tables, "sst2")
        handles, labels = axes.get_legend_handles_labels()
        assert labels == ["full fine-tuning", "LoRA"]
        assert {handle.get_linestyle() for handle in handles} == {"None"}


def test_the_null_of_intruders_is_a_note_that_leaves_the_scale_alone():
    modules = {"method": ["full_finetune", "lora"], "seed": 1, "layer": 0, "directions": 10}
    modules |= {"intruders": [0.0, 0.2], "intruders_control": 0.0, "intruders_random": 10.0}
    with canvas(1) as (_, [axes]):
        weight_figures.intruders(axes, Arms.of(), pd.DataFrame(modules))
        assert axes.get_ylim()[1] < 2
        assert [text.get_text() for text in axes.texts] == ["random directions: 10"]


def test_a_legend_has_what_any_panel_shows_once_and_each_row_its_label():
    with canvas(4) as (figure, panels):
        for axes, names in zip(panels, [["lora"], [], ["floor", "lora"], []], strict=True):
            axes.set_ylabel("drift")
            for name in names:
                axes.plot([0], [0], label=name)
        finish_panels(figure, panels)
        [legend] = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["lora", "floor"]
        assert [axes.get_ylabel() for axes in panels] == ["drift", "", "", "drift"]
        assert len(figure.axes) == 4


def test_tick_labels_are_few_and_short_and_whole_where_something_is_counted():
    with canvas(1) as (figure, [axes]):
        axes.set_xlim(0.000113, 0.000287)
        few_ticks(axes.xaxis)
        figure.canvas.draw()
        labels = [tick.get_text() for tick in axes.get_xticklabels()]
        assert 2 <= len(labels) <= 6 and "0.0002" in labels
        few_ticks(axes.xaxis, whole=True)
        for last in (0, 1, 7, 40):
            axes.set_xlim(-0.5, last + 0.5)
            ticks = axes.xaxis.get_major_locator()()
            assert all(tick == round(tick) for tick in ticks), last


def rows(number):
    return Table(pd.DataFrame({"task": ["mrpc"] * number, "drift": [0.25] * number}), "Rows.")


@pytest.mark.parametrize("head", ["a heading of words", "unbreakable" * 3])
def test_no_table_is_wider_than_the_page(head):
    for columns in ([("claim", NOTE), ("p", "0.25"), ("note", NOTE)], [(head, "0.25")] * 12):
        assert sum(column_widths(columns, WIDTH)) <= WIDTH + 1e-6


def test_numbers_stay_on_one_line_texts_too_where_there_is_room_and_long_notes_wrap():
    short, long = column_widths([("a", "1"), ("two words", "1")], ROOMY)
    assert short < long < 60
    _, number, _ = column_widths([("claim", NOTE), ("95 % from", "-10.3"), ("note", NOTE)], WIDTH)
    assert number == column_widths([("from", "-10.3")], ROOMY)[0]
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
    assert table.headings() == ["p holm", "warmup ratio"]
