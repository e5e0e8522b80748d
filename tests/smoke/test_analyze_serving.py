"""``analyze.py analysis=serving`` as it is typed, on cells of a simulated benchmark."""

import json

import pytest
from front_doors import ROOT, error_of, output_of, run_here
from serving_cells import FEW, Simulated

from loradrift.runs.record import Status


def analyze(folder, *typed):
    places = f"analysis.runs={folder}/runs", f"analysis.results={folder}/results"
    return run_here(ROOT / "analyze.py", "analysis=serving", *places, *typed)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    Simulated(**FEW).write(folder / "runs")
    Simulated(**FEW, variant="serving.mix=zipf", rounds=2, planned=5,
              status=Status.INTERRUPTED, seed=1).write(folder / "runs")  # fmt: skip
    return folder


def test_verdict_advice_and_answers_are_printed(cells):
    """Of the cell that is typed as its folder is called; the other one has a line."""
    typed = "cell='vllm/tiny,serving.mix=zipf'", "analysis.figures=[cells]"
    printed = output_of(analyze(cells, *typed))
    assert "undecided: 2 rounds, and a verdict takes at least 5." in printed
    assert "vllm/tiny: On generated data" in printed
    assert "H3 (at most 30 % overhead) is refuted." in printed
    assert "advice: max_lora_rank: 8: the adapters' own" in printed
    assert " answers 0 were wrong (wrong adapter rate 0 %); " in printed
    assert "of the base model, none in a batch with adapters" in printed
    report = cells / "results" / "deployment" / "report.html"
    assert f"report: {report}" in printed and report.exists()
    found = json.loads(report.with_name("deployment_benchmark.json").read_text())
    assert found["overhead_analysis"]["H3"]["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["analysis.runs=nowhere"], "nowhere"),
        (["analysis.figures=[overhaeds]"], "analysis.figures must be some of overheads, batches"),
        (["cell=vllm/big"], "cell must be one of vllm/tiny, vllm/tiny,serving.mix=zipf, got"),
        (["analysis.treatment=lora"], "treatment"),
    ],
)
def test_what_cannot_be_is_one_line(cells, typed, says):
    assert says in error_of(analyze(cells, *typed))


def test_runs_without_a_cell_say_what_measures_one(tmp_path):
    (tmp_path / "runs").mkdir()
    line = error_of(analyze(tmp_path))
    assert "holds no cell of the serving benchmark: `python benchmark.py` measures one" in line
