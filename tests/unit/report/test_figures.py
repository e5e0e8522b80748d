"""What the figures write and mark."""

from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.image import imread

from loradrift.analysis.drift import figures
from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypotheses import HYPOTHESES, Outcome, Verdict
from loradrift.analysis.weights import figures as weight_figures
from loradrift.report import style
from loradrift.report.style import canvas, few_ticks, finish_panels, save

PRINTED = style.DPI  # before a test makes it smaller


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


@pytest.mark.parametrize("interval", [(-0.02, 0.02), (-80.0, 90.0), (None, None)])
def test_each_hypothesis_shows_its_margin_and_its_whole_interval(interval):
    lower, upper = interval
    claim = {"hypothesis": HYPOTHESES[0], "verdict": Verdict.UNDECIDED, "estimate": 0.01}
    outcome = Outcome(**claim, ci_lower=lower, ci_upper=upper)
    with canvas(1) as (_, [axes]):
        figures.hypothesis(axes, outcome)
        low, high = axes.get_xlim()
        assert low < min(0, lower or 0) and high > max(3, upper or 0)
        assert any(list(line.get_xdata()) == [3, 3] for line in axes.lines)


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
