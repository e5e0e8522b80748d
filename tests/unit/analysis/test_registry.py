"""An analysis is one entry: a new one is registered here and typed at the real entry point."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path

import pandas as pd
import pytest
from front_doors import ROOT, run_here
from hydra.core.config_store import ConfigStore

from loradrift.analysis.registry import (
    ANALYSES,
    Analysis,
    make_config,
    register,
    register_all,
    run_analysis,
)
from loradrift.config import AnalyzeConfig, UserError
from loradrift.config.analysis import FiguresConfig
from loradrift.report.blocks import Figure, Heading
from loradrift.report.figures import Figures
from loradrift.report.html import write_html
from loradrift.report.style import canvas, save


@dataclass(kw_only=True)
class ToyConfig(AnalyzeConfig):
    """How long the lines of a file are: text=<file>."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)
    text: str = field(metadata={"kind": "text file"})


def tables(settings: ToyConfig) -> pd.DataFrame:
    lines = Path(settings.text).read_text().splitlines()
    return pd.DataFrame({"length": [len(line) for line in lines]})


def draw(table: pd.DataFrame, folder: Path) -> Figure:
    with canvas(1) as (figure, [axes]):
        axes.plot(table["length"])
        save(figure, folder, "lengths")
    return Figure("lengths", "Length of each line.")


def page(settings: ToyConfig, table: pd.DataFrame) -> None:
    results = Path(settings.analysis.results)
    drawers = {"lengths": draw, "none": lambda *_: None}
    figures = Figures(results, settings.analysis.figures, (drawers, table))
    blocks = [Heading("Lengths"), *figures["lengths"], *figures["none"]]
    write_html(results / "toy.html", "Toy", blocks, results)
    print(f"{table['length'].sum()} characters")


@pytest.fixture
def toy():
    register_all()
    register(Analysis("toy", ToyConfig, tables, page))
    yield
    del ANALYSES["toy"], ConfigStore.instance().repo["analysis"]["toy.yaml"]


def analyze(*typed: str):
    return run_here(ROOT / "analyze.py", *typed)


def test_a_new_analysis_is_typed_like_the_others(toy, tmp_path):
    (tmp_path / "x.txt").write_text("ab\nc\n")
    typed = ["analysis=toy", f"text={tmp_path}/x.txt", f"analysis.results={tmp_path}"]
    done = analyze(*typed)
    assert (done.stdout, done.stderr, done.returncode) == ("3 characters\n", "", 0)
    assert (tmp_path / "toy.html").read_text().count("<figure>") == 1
    assert analyze(*typed, "analysis.figures=[none]").returncode == 0
    assert "<figure>" not in (tmp_path / "toy.html").read_text()
    wrong = analyze(*typed, "analysis.figures=[length]")
    assert wrong.stderr == "error: analysis.figures must be some of lengths, none, got length\n"
    told = re.sub(" +", " ", analyze("--help").stdout)
    assert "toy How long the lines of a file are: text=<file>\n" in told


def test_its_keys_and_its_name_are_its_own(toy):
    assert analyze("analysis=toy").stderr == "error: analysis=toy needs text=<text file>\n"
    wrong = analyze("analysis=prove", "text=x").stderr
    assert wrong == "error: text is a key of analysis=toy, not of analysis=prove\n"
    extra = analyze("analysis=toy", "text=x", "+txt=y").stderr
    assert extra == "error: +txt: there is no such key. Did you mean: text?\n"
    with pytest.raises(ValueError, match="analysis=toy is registered twice: .*test_registry and"):
        register(ANALYSES["toy"])
    assert analyze("analysis=toy").returncode == 1  # the first one is still there


def test_every_name_of_a_function_is_one():
    register_all()
    for analysis in ANALYSES.values():
        for named in (analysis.tables, analysis.page):
            assert callable(analysis.function(named))


@pytest.mark.parametrize(
    "name",
    [
        "drift", "report", "frontier", "persona", "persona_projection", "reconstruction", "search",
        "sequence", "serving",
    ],
)  # fmt: skip
def test_a_figure_that_there_is_not_is_refused_before_a_file_is_read(name, tmp_path):
    places = {"runs": str(tmp_path / "runs"), "results": str(tmp_path / "results")}
    with pytest.raises(UserError, match=r"analysis\.figures must be some of \w+.*, got foo$"):
        run_analysis(make_config(name, figures=["foo"], **places))
    with pytest.raises(UserError, match="^(?!analysis.figures)"):  # what the empty folders lack
        run_analysis(make_config(name, figures=[], **places))


def test_every_analysis_with_figures_says_which():
    register_all()
    makes = {
        name: next(
            each.default_factory for each in fields(analysis.config) if each.name == "analysis"
        )
        for name, analysis in ANALYSES.items()
    }
    draws = {name for name, make in makes.items() if issubclass(make, FiguresConfig)}
    assert draws == {name for name, each in ANALYSES.items() if each.figures}


def test_a_figure_is_drawn_when_it_is_asked_for(tmp_path):
    asked = []

    def note(tables, folder):
        asked.append(tables)
        return Figure("a", "")

    figures = Figures(tmp_path, [], ({"a": note}, 1), ({"b": note}, 2))
    assert asked == [] and figures["b"] == [Figure("a", "")] and asked == [2]
    assert Figures(tmp_path, ["a"], ({"a": note, "b": note}, 3))["b"] == [] and asked == [2]
    with pytest.raises(KeyError):
        figures["c"]
    with pytest.raises(UserError, match=r"analysis\.figures must be some of a, b, got c"):
        Figures(tmp_path, ["c"], ({"a": note, "b": note}, 3))


def test_no_key_is_taken_for_a_group_of_options():
    """Hydra reads ``method=…`` as the choice of an option of ``conf/method/``, wherever typed."""
    register_all()
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for name, analysis in ANALYSES.items():
        taken = groups & {each.name for each in fields(analysis.config)}
        assert not taken, f"analysis={name}: {taken}"


def test_an_arm_of_a_direction_is_typed_without_quotes(tmp_path):
    typed = ["analysis=persona_direction", "arm=rslora,method.rank=4", f"analysis.runs={tmp_path}"]
    done = analyze(*typed)
    assert done.returncode == 1 and "Could not override" not in done.stderr
    assert str(tmp_path) in done.stderr
