"""What a report of serving holds: JSON, tables, page and figures, of simulated cells."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from serving_cells import ARMS, FEW, Simulated

from loradrift.analysis.registry import make_config, run_analysis
from loradrift.analysis.serving.drawers import CELLS, SERVING
from loradrift.analysis.serving.reading import read_cell
from loradrift.analysis.serving.results_json import deployment_json
from loradrift.analysis.serving.sections import cells_table
from loradrift.analysis.serving.summary import arm_table
from loradrift.analysis.serving.tables import tabulate
from loradrift.config import UserError
from loradrift.runs.record import Status


def simulated(**changes):
    return Simulated(**{**FEW, **changes})


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Bitmaps of few dots, which are drawn sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loradrift.report.style.DPI", 40)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A simulated cell through the analysis: its JSON, samples, and what was printed."""
    folder = tmp_path_factory.mktemp("serving")
    simulated().write(folder / "runs")
    simulated(variant="serving.mix=zipf", seed=1, rounds=2, planned=5,
              status=Status.INTERRUPTED).write(folder / "runs")  # fmt: skip
    analyze(folder)
    return folder / "results" / "deployment"


def analyze(folder, results=None, **values):
    places = {"runs": str(folder / "runs"), "results": str(results or folder / "results")}
    run_analysis(make_config("serving", **places, **values))


def test_json_keeps_the_fixed_keys_for_every_arm_and_batch(results):
    found = json.loads((results / "deployment_benchmark.json").read_text())
    samples = pd.read_parquet(results / "samples.parquet")
    for arm in (each["name"] for each in ARMS):
        assert found[arm]["memory_gb"] > 0.5
        for batch in (1, 8):
            own = samples[
                (samples["cell"] == "vllm/tiny") & (samples["phase"] == "offline")
                & (samples["arm"] == arm) & (samples["load"] == batch)
            ]  # fmt: skip
            figures = found[arm][f"batch_{batch}"]
            assert figures["mean_latency"] == pytest.approx(own["latency_s"].mean())
            assert figures["p95_latency"] == pytest.approx(np.percentile(own["latency_s"], 95))
            # five requests (batch 1) carry no p95, forty (batch 8) no p99
            few = {1: {"p95_latency", "p95_ttft"}, 8: set()}[batch] | {"p99_latency"}
            assert set(figures["too_few_requests_for"]) == few
            calls = own.groupby("round")["call_s"].first()
            assert figures["throughput"] == pytest.approx(own["tokens"].sum() / calls.sum())
    assert found["merged"]["batch_8"]["requests"] == 160
    assert found["merged"]["batch_8"]["too_few_requests_for"] == []
    assert found["benchmark"]["requests_needed"] == {"p95": 20, "p99": 100}
    assert found["units"]["mean_latency"] == "s" and found["units"]["throughput"] == "tokens/s"
    h3 = found["overhead_analysis"]["H3"]
    assert h3["verdict"] == "refuted" and h3["rounds"] == 5
    assert h3["stands_for"].startswith("generated data and a 0.93 M-parameter Llama (tiny) (vLLM,")
    over = found["overhead_analysis"]["multi_2_adapters"]["batch_8"]["over_merged"]
    assert over["overhead_percent"] == h3["overhead_percent"] == pytest.approx(85, abs=3)


def test_json_and_page_say_which_answers_pass_for_others(results):
    answers = json.loads((results / "deployment_benchmark.json").read_text())["answers"]
    samples = pd.read_parquet(results / "samples.parquet")
    own = samples[samples["cell"] == "vllm/tiny"]
    assert set(own["phase"]) == {"offline", "closed_loop", "open_loop", "cold", "rate_search"}
    assert answers["answers"] == len(own) and 0 < answers["told_apart"] < len(own)
    share = {"asked": "rte", "answer_of": "squad_v2", "share_of_prompts": 0.5}
    assert share in answers["passes_for_another"] and len(answers["passes_for_another"]) == 3
    page = (results / "report.html").read_text()
    assert f"{answers['told_apart']:,} could be told from every other model" in page
    row = r"RTE-like \(generated\)</td>\s*<td[^>]*>SQuAD v2-like \(generated\)</td>\s*<td[^>]*>50<"
    assert re.search(row, page)
    assert "coincide, or differ in ties only" in page


def test_page_has_the_answer_first_and_every_figure(results):
    page = (results / "report.html").read_text()
    answer = page.index('class="answer"')
    assert "H3 (at most 30 % overhead) is refuted." in page[answer : page.index("</p>", answer)]
    assert answer < page.index("<figure>")
    drawn = {path.stem for path in (results / "figures").glob("*.svg")}
    assert drawn == set(SERVING) | set(CELLS)
    assert page.count("<figure>") == len(drawn)
    assert (results / "report.pdf").stat().st_size > 10_000
    for told in (
        "What to set",
        "max_lora_rank",
        "2 of 5 rounds, interrupted",
        "wrong adapter rate",
    ):
        assert told in page


def test_every_figure_and_caption_says_which_kernels(results):
    page = (results / "report.html").read_text()
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert sum("CPU reference kernels" in each for each in captions) == len(SERVING)


def test_a_second_report_is_the_same_byte_for_byte(results, tmp_path):
    before = {path.name: path.read_bytes() for path in results.glob("*.csv")}
    found = (results / "deployment_benchmark.json").read_bytes()
    analyze(results.parents[1], tmp_path, figures=["overheads"])
    again = tmp_path / "deployment"
    assert {path.name: path.read_bytes() for path in again.glob("*.csv")} == before
    assert (again / "deployment_benchmark.json").read_bytes() == found
    assert [path.name for path in (again / "figures").glob("*.svg")] == ["overheads.svg"]
    ours, theirs = ((each / "figures/overheads.svg").read_bytes() for each in (again, results))
    assert ours == theirs


def test_cells_that_are_to_be_shown_have_their_tables_printed(results, tmp_path, capsys):
    def printed(**keys):
        places = {"runs": f"{results.parents[1]}/runs", "results": str(tmp_path)}
        run_analysis(make_config("serving", keys=keys, figures=["overheads"], **places))
        return capsys.readouterr().out

    mixed = "vllm/tiny,serving.mix=zipf"
    said = printed(cell="vllm/tiny", shown=[mixed])
    assert said.count("verdict: ") == 2 and f"{mixed} [2 of 5 rounds, interrupted]: " not in said
    said = printed(cell="vllm/tiny")
    assert said.count("verdict: ") == 1 and f"{mixed} [2 of 5 rounds, interrupted]: " in said
    with pytest.raises(UserError, match=f"shown must be some of vllm/tiny, {mixed}, got vllm/big"):
        printed(shown=["vllm/big"])


def test_cell_chooses_what_the_report_is_about(results):
    name, runs = "vllm/tiny,serving.mix=zipf", str(results.parents[1] / "runs")
    serving = tabulate(make_config("serving", keys={"cell": name}, runs=runs))
    found = deployment_json(serving)
    assert found["benchmark"]["cell"] == name and list(found["cells"]) == ["vllm/tiny"]
    with pytest.raises(UserError, match=r"cell must be one of vllm/tiny, vllm/tiny,.* got vllm/x"):
        tabulate(make_config("serving", keys={"cell": "vllm/x"}, runs=runs))


def test_a_cell_without_batch_8_says_at_which_load_its_figures_are(tmp_path):
    for name, sizes in (("a", (1, 8)), ("b", (1, 4))):
        simulated(model=name, batch_sizes=sizes, rounds=1, served_kinds=()).write(tmp_path / "runs")
    serving = tabulate(make_config("serving", runs=str(tmp_path / "runs")))
    table = cells_table(serving.cells)
    rows = table.frame.set_index("cell")
    assert rows["at"]["vllm/a"] == "batch 8" and rows["at"]["vllm/b"] == "batch 4"
    assert rows["overhead at batch 8"]["vllm/b"] == "-"
    assert "merged models at batch 8" not in table.caption
    shown = arm_table(serving.cells[0]).set_index("arm")["p95 (s)"]
    assert np.isnan(shown["2 adapters"]), "of 8 requests, a p95 is their largest"
    assert shown["merged models"] > 0, "of 32"


def test_other_cells_stand_below_the_first_one(results):
    found = json.loads((results / "deployment_benchmark.json").read_text())
    other = found["cells"]["vllm/tiny,serving.mix=zipf"]
    assert other["benchmark"]["status"] == "interrupted" and other["benchmark"]["rounds"] == 2
    assert other["overhead_analysis"]["H3"]["verdict"] == "undecided"
    assert other["multi_2_adapters"]["batch_8"]["throughput"] > 0


def only_server(tmp_path, **changes):
    """A cell of engine=vllm_server: loads of a server, no offline rounds, one merged model."""
    cell = simulated(engine="vllm_server", concurrency=(1, 8), served_kinds=SERVED, **changes)
    folder = cell.write(tmp_path / "runs")
    for path in (folder / "rounds").iterdir():
        path.unlink()
    for name in ("cold.parquet", "cold_samples.parquet"):
        (folder / name).unlink()
    return folder


SERVED = ("lora_enabled_base", "single", "multi", "merged")


def test_a_server_alone_is_reported_by_its_closed_loop(tmp_path, capsys):
    only_server(tmp_path)
    analyze(tmp_path, figures=["server"])
    found = json.loads((tmp_path / "results/deployment/deployment_benchmark.json").read_text())
    assert found["overhead_analysis"]["H3"]["verdict"] == "no data"
    assert found["multi_2_adapters"]["concurrency_8"]["throughput"] > 0
    assert found["multi_2_adapters"]["rate_4"]["goodput"] > 0
    over = found["overhead_analysis"]["multi_2_adapters"]["concurrency_8"]["over_merged"]
    assert over["rounds"] == 5 and over["overhead_percent"] == pytest.approx(85, abs=8)
    assert "rate_4" not in found["overhead_analysis"]["multi_2_adapters"], "its time is no cost"
    printed = capsys.readouterr().out
    assert "Of the merged models the server had one (merged: SST-2-like (generated))" in printed
    assert "vllm_server/tiny: 8 requests in flight, vLLM's server, CPU" in printed
    assert "no verdict: no round has both multi_2_adapters and the merged models" in printed


def test_unfinished_rounds_of_a_server_are_marked(tmp_path):
    cell = read_cell(only_server(tmp_path, rounds=2, planned=5, status=Status.FAILED))
    assert cell.marks == "2 of 5 rounds, failed"
