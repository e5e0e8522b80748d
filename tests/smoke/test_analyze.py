"""The analysis' front door: a whole study, the report from its tables alone, and bad input."""

import json
import re
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from front_doors import ROOT, analyse, analyze, error_of, output_of, run_here
from planted import write_run
from planted_weights import write_study

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.hypothesis_data import outcomes_json, read_outcomes
from loradrift.analysis.registry import ANALYSES
from loradrift.similarity import MEASURES

FIGURES = ("drift_ratio", "update_norm", "effective_rank", "intruders", "drift_against_norm")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Two seeds of both methods, with weights, analysed."""
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder)
    output_of(analyse("drift", folder, figures=["frontier"]))
    return folder


@pytest.fixture
def planted(finished, tmp_path) -> Path:
    """A copy of the runs alone; their base model stays where it was."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def analysed(finished, tmp_path) -> Path:
    """A copy of the results alone."""
    shutil.copytree(finished / "results", tmp_path / "results")
    return tmp_path


@pytest.mark.end_to_end
def test_trained_runs_become_a_report_that_is_rebuilt_from_its_tables(compute, tmp_path):
    for method in ("full_finetune", "lora"):
        for draw in ((), ("trainer.rounding=1",)):
            compute("task=mrpc", f"method={method}", "seed=1", *draw)
    before = contents(tmp_path / "runs")
    said = output_of(analyze(tmp_path))
    assert "Weight changes" in said and "not analysed" not in said
    assert f"report: {tmp_path}/results/report.html" in said
    results = tmp_path / "results"
    page = (results / "report.html").read_bytes()
    assert b">Weights</h2>" in page and b"http-equiv" not in page
    assert_generated_rows_never_pass_for_others(said, page.decode())
    for name in FIGURES:
        assert {path.suffix for path in (results / "figures").glob(f"{name}.*")} == {".png", ".svg"}
    modules = pd.read_parquet(results / "weights/modules.parquet")
    assert len(modules) == 2 * 2 * 7  # methods, layers, linear modules of each
    rounding = pd.read_parquet(results / "drift_analysis/rounding.parquet")
    assert list(rounding["roundings"]) == [1, 1] and (rounding["sd_log_drift"] > 0).all()
    assert (rounding["sd_log_drift"] < 0.1).all()  # twelve steps do not let a last bit grow
    assert b"with their first weights moved in the last bit, once: rounding alone" in page
    assert (modules["relative_norm"] > 0).all() and modules["effective_rank"].notna().all()
    assert contents(tmp_path / "runs") == before

    for path in (*(results / "figures").iterdir(), results / "report.html", results / "report.pdf"):
        path.unlink()
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    output_of(analyse("report", tmp_path))
    assert (results / "report.html").read_bytes() == page
    assert (results / "report.pdf").read_bytes().startswith(b"%PDF")


def assert_generated_rows_never_pass_for_others(said: str, page: str) -> None:
    answer = next(line for line in said.splitlines() if line.startswith("On generated data and a "))
    assert said.index(answer) < said.index("Hypotheses") and f'"answer">{answer}</p>' in page
    text = re.sub(r"<code>.*?</code>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "MRPC-like (generated)" in text and "MRPC-like (generated)" in said
    assert not re.search(r"MRPC(?!-like)|[> ]mrpc\b", text + said)
    heads = re.findall(r"<th[^>]*>(.*?)</th>", page)
    assert heads and not [head for head in heads if "_" in head]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("drift", "python train.py study=drift -m"),
        ("frontier", "python train.py study=frontier -m"),
        ("reconstruction", "python train.py study=reconstruction -m"),
        ("sequence", "python train.py study=sequence -m"),
        ("search", "python train.py search=lora -m"),
        ("persona", "python benchmark.py benchmark=steering trait=… arm=none,prompt,activation,"),
        ("persona_direction", "python train.py task=persona method=rslora task.trait=… task.side="),
        ("serving", "python benchmark.py"),
    ],
)
def test_an_empty_folder_says_what_fills_it(tmp_path, name, command):
    assert f"`{command}" in error_of(analyse(name, tmp_path))


def test_weights_alone_write_their_tables(planted):
    shown = output_of(analyse("weights", planted))
    assert "update norm" in shown and f"tables: {planted}/results/weights" in shown
    names = {path.stem for path in (planted / "results/weights").glob("*.csv")}
    assert names == {"modules", "summary", "comparison", "totals", "not_analysed"}
    assert not (planted / "results/report.html").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "holds no run: `python train.py study=drift -m` makes some"),
        (("analysis=wieghts",), "no such option. Did you mean: analysis=weights?"),
        (("analysis.measurs=[knn]",), "Did you mean: 'measures'?"),
        (("results=x",), "Did you mean: analysis.results?"),
        (("analysis.control=lora",), "control and analysis.treatment must differ, got lora for"),
        (("analysis.treatment=rank=4",), "such as lora,method.rank=64, got rank=4"),
        (("storage=x",), "storage is a key of analysis=search, not of the default analysis"),
        (
            ("analysis=prove", "adapter=x"),
            "adapter is a key of analysis=diagnose, pairs, not of analysis=prove",
        ),
        (
            ("analysis=search", "analysis.measures=[knn]"),
            "analysis.measures is a key of analysis=drift, hypotheses, weights, not of "
            "analysis=search",
        ),
        (("analysis=pairs", "adapter=x"), "analysis=pairs needs pairs=<CSV or TSV file>"),
        (("analysis.name=weights",), "an analysis is chosen by analysis=<name>; there are: dash"),
        (
            ("analysis.figures=[frontire]",),
            "analysis.figures must be some of drift_ratio, layer_profiles, drift_over_steps, "
            "frontier, layer_difference, hypotheses, update_norm, effective_rank, intruders, "
            "drift_against_norm, forgetting_against_norm, got frontire",
        ),
        (("analysis.seed=x",), "analysis.seed must be an integer, got x"),
        (("analysis.measures=3",), "analysis.measures must be a list, as [one,two], got 3"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, overrides, message):
    assert message in error_of(analyze(tmp_path, *overrides))


def test_the_help_lists_every_analysis():
    said = run_here(ROOT / "analyze.py", "--help").stdout
    listed = said.partition("== Analyses")[2].partition("==\n")[2].partition("\n\n")[0]
    assert re.findall(r"^(\w+)  +\S", listed, re.MULTILINE) == sorted(ANALYSES)
    assert "prove" in ANALYSES and len(ANALYSES) >= 10


def test_one_method_only(tmp_path):
    write_run(tmp_path / "runs", "lora", 1, size=0.2)
    line = error_of(analyse("drift", tmp_path))
    assert "analysis.control must name an arm that" in line and line.endswith("nothing to compare")
    write_run(tmp_path / "runs", "full_finetune", 2, size=0.2)
    done = analyse("drift", tmp_path)
    assert "not analysed: sst2 seed=1: there is no finished full_finetune run" in done.stdout
    assert "`python train.py task=sst2 method=full_finetune seed=1 study.name=drift" in done.stdout
    assert error_of(done).endswith("nothing to compare")


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_bad_dump_costs_its_pair_and_no_more(planted, fault):
    path = planted / "runs/drift/sst2/lora/seed=2/activations/step=000009.safetensors"
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = contents(planted / "runs")
    said = output_of(analyse("weights", planted))
    [line] = [line for line in said.splitlines() if "not analysed" in line]
    assert f"sst2 seed=2: {path}" in line and "move the run away and repeat its own command" in line
    assert set(pd.read_parquet(planted / "results/weights/totals.parquet")["seed"]) == {1}
    assert contents(planted / "runs") == before


def test_one_seed_whose_base_model_is_gone_still_has_its_drift(tmp_path):
    write_study(tmp_path, seeds=(1,))
    shutil.rmtree(tmp_path / "base")
    done = analyse("drift", tmp_path)
    said = output_of(done)
    [line] = [line for line in said.splitlines() if "not analysed" in line]
    assert "weights of sst2 seed=1: the base model" in line and not done.stderr
    assert "is not on this machine; copy its folder here" in line
    # One seed: means and verdicts, but no interval.
    summary = pd.read_parquet(tmp_path / "results/drift_analysis/summary.parquet")
    assert summary["ratio_lower"].isna().all() and "undecided" in said
    assert "nan" not in said
    page = (tmp_path / "results/report.html").read_text()
    assert "Effect sizes and descriptions" in page and ">nan" not in page
    assert "is not on this machine" in page
    assert "the weights of no pair can be read" in error_of(analyse("weights", tmp_path))


@pytest.mark.parametrize("name", ["drift", "report"])
def test_a_failing_proof_stops_everything_and_is_named(analysed, monkeypatch, name):
    before = contents(analysed)
    faulty = replace(MEASURES["cka"], value=lambda x, y: 0.07 * MEASURES["cka"](x, y))
    prove = import_module("loradrift.similarity.self_check")
    monkeypatch.setattr(prove, "MEASURES", {**MEASURES, "cka": faulty})
    done = analyse(name, analysed)
    assert "cka: self-similarity is 0.07, must be 1" in error_of(done)
    assert "report:" not in done.stdout
    assert contents(analysed) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("drift_analysis/drift.parquet", "python analyze.py"),
        ("hypotheses.json", "python analyze.py analysis=hypotheses"),
        ("weights/totals.parquet", "python analyze.py analysis=weights"),
    ],
)
def test_a_report_without_all_its_tables_says_what_makes_them(analysed, name, command):
    path = analysed / "results" / name
    for how in ("damaged", "missing"):
        path.write_text("{half") if how == "damaged" else path.unlink()
        line = error_of(analyse("report", analysed))
        assert f"{path} is {how}" in line and f"`{command}` makes it" in line


def test_tables_of_different_runs_make_no_report(analysed):
    path = analysed / "results/weights/totals.parquet"
    table = pd.read_parquet(path)
    table.assign(seed=table["seed"] + 5).to_parquet(path)
    message = "weights holds sst2 full_finetune 6, which"
    assert message in error_of(analyse("report", analysed))


def test_verdicts_survive_the_file(finished):
    path = finished / "results/hypotheses.json"
    assert outcomes_json(Arms.of(), read_outcomes(path, "")) == json.loads(path.read_text())
