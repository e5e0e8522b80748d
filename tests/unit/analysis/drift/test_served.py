"""H3 among the hypotheses: the verdict of the serving benchmark, or the command that measures."""

import json
from dataclasses import replace

import pytest
from serving_cells import FEW, Simulated

from loradrift.analysis.drift.hypotheses import HYPOTHESES
from loradrift.analysis.drift.ratio_figures import draw_hypotheses
from loradrift.analysis.drift.verdicts import decide
from loradrift.analysis.drift_report.answer import cards
from loradrift.analysis.drift_report.serving import with_serving
from loradrift.analysis.serving.reading import read_cell
from loradrift.analysis.serving.results_json import deployment_json
from loradrift.analysis.serving.tables import Serving, measure
from loradrift.files import write_json


def measured(tmp_path, **changes):
    """The results of a benchmark that was simulated."""
    simulated = Simulated(**{**FEW, "served_kinds": (), "rates": (), **changes})
    folder = simulated.write(tmp_path / "runs")
    path = tmp_path / "results/deployment/deployment_benchmark.json"
    found = deployment_json(Serving([measure(read_cell(folder), seed=0)], []))
    write_json(path, found)
    return found["overhead_analysis"]["H3"], path


def h3(tmp_path):
    outcomes = with_serving(decide({}), tmp_path / "results")
    assert outcomes[:2] == decide({})[:2], "the others are not touched"
    assert [each.hypothesis for each in outcomes] == [*HYPOTHESES]
    return outcomes[2]


@pytest.mark.parametrize(("slower", "verdict"), [(1.85, "refuted"), (1.1, "supported")])
def test_the_verdict_is_the_benchmarks_with_scale_and_what_it_rests_on(tmp_path, slower, verdict):
    saved, path = measured(tmp_path, slower=Simulated().slower | {"multi": slower})
    found = h3(tmp_path)
    assert found.verdict == saved["verdict"] == verdict
    low, high = (1 + each / 100 for each in saved["ci_95_percent"])
    assert (found.ratio_lower, found.ratio_upper) == pytest.approx((low, high))
    assert low < found.ratio < high and found.p is found.verdict_lower is None
    for said in (
        "on generated data and a 0.93 M-parameter Llama (tiny) (vLLM, CPU reference kernels, fp32)",
        "batch 8, 5 rounds", "answers checked, 0 wrong",
        "cell vllm/tiny in results/deployment/deployment_benchmark.json",
    ):  # fmt: skip
        assert said in found.note
    assert path.exists() and str(tmp_path) not in found.note, "the report may be read elsewhere"
    [card] = cards([found]).cards
    assert card.verdict == verdict and found.note in card.lines
    assert "over a benchmark's rounds" in draw_hypotheses([found], tmp_path).caption


def test_a_benchmark_that_is_not_whole_is_marked(tmp_path):
    measured(tmp_path, rounds=2, planned=5, status="interrupted")
    found = h3(tmp_path)
    assert found.verdict == "undecided" and "2 of 5 rounds, interrupted" in found.note
    _, path = measured(tmp_path / "one", rounds=1)
    assert h3(tmp_path / "one").ratio_lower is None, "one round has no interval"
    saved = json.loads(path.read_text())
    saved["overhead_analysis"]["H3"] |= {"verdict": "no data", "why": "3 answers are wrong"}
    write_json(path, saved)
    found = h3(tmp_path / "one")
    assert (found.verdict, found.ratio) == ("no data", None), "times of wrong answers mean nothing"
    assert "1 round; 3 answers are wrong; " in found.note


def test_without_a_benchmark_the_command_that_measures_is_named(tmp_path):
    found = h3(tmp_path)
    path = "results/deployment/deployment_benchmark.json"
    note = f"{path} is missing: `python benchmark.py` measures it"
    assert found == replace(decide({})[2], note=note)


@pytest.mark.parametrize("change", ["{half", "[]", "{}", "stands_for", "verdict"])
def test_results_that_cannot_be_used_name_what_makes_them_again(tmp_path, change):
    _, path = measured(tmp_path, rounds=1)
    saved = json.loads(path.read_text())
    if known := change in saved["overhead_analysis"]["H3"]:
        del saved["overhead_analysis"]["H3"][change]
    path.write_text(json.dumps(saved) if known else change)
    outcome = h3(tmp_path)
    assert outcome.verdict == "no data" and outcome.ratio is None
    assert "`python analyze.py analysis=serving` makes it again" in outcome.note
