"""``analysis=persona`` and ``analysis=persona_projection`` as they are typed, on planted cells."""

import pytest
from front_doors import ROOT, error_of, output_of, run_here
from planted_cells import TRUTH, World


def analyze(folder, *typed, analysis="persona"):
    places = f"analysis.runs={folder}/runs", f"analysis.results={folder}/results"
    return run_here(ROOT / "analyze.py", f"analysis={analysis}", *places, *typed)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("persona")
    World(folder).arms(["terse"], {arm: TRUTH[arm] for arm in ("none", "prompt", "weight")})
    World(folder).cell("terse", "none", 0.0, 20, 90, model="big", base="beef")
    return folder


def test_the_verdicts_are_printed_and_the_page_is_written(cells):
    """Of the setting of one cell, which is typed as its folder is called."""
    typed = "cell='hf/tiny,trait=terse,arm=none,coefficient=0'", "analysis.figures=[gains]"
    printed = output_of(analyze(cells, *typed))
    assert "note: arm=activation is missing, without which there is no verdict" in printed
    assert "Equivalence of weights and activations: no data: arm=activation was not" in printed
    report = cells / "results" / "persona" / "report.html"
    assert f"report: {report}" in printed and report.read_text().count("<figure>") == 1


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([], "steering cells cannot be compared: model is big in hf/big,"),
        (["cell=hf/big"], "cell must be one of hf/big,trait=terse,arm=none,coefficient=0, hf/tiny"),
        (["analysis.figures=[gain]"], "analysis.figures must be some of doses, frontier, gains"),
        (["coherence=-1"], "coherence must be in [0, 100], got -1.0"),
        (["gain=5"], "Key 'gain' not in"),
    ],
)
def test_what_cannot_be_is_one_line(cells, typed, says):
    chosen = "cell='hf/tiny,trait=terse,arm=none,coefficient=0'"
    typed = [chosen, *typed] if typed and "figures" in typed[0] else typed
    assert says in error_of(analyze(cells, *typed))


def test_projections_need_runs_that_were_asked(cells):
    typed = "cell='hf/tiny,trait=terse,arm=none,coefficient=0'"
    line = error_of(analyze(cells, typed, analysis="persona_projection"))
    assert "no fine-tuned run was asked: `python benchmark.py benchmark=steering" in line
