"""The study in W&B, offline: what is logged, what would be pushed, and that no key is written."""

import json
import sys
from pathlib import Path

import pytest
from fork_server import ForkedProcess
from front_doors import ROOT
from planted_search import plant
from planted_weights import write_study

from loradrift.analysis.dashboards import dashboards
from loradrift.analysis.registry import make_config, run_analysis
from loradrift.config import AnalyzeConfig, UserError

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces (.[dashboards]) is missing")

KEY = "0123456789abcdef5ecretfake0123456789abcdef"


def settings(folder: Path, name: str, **options) -> AnalyzeConfig:
    return make_config(name, runs=f"{folder}/runs", results=f"{folder}/results", **options)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A study with its search, analysed and logged offline; gives its folder and what was said."""
    folder = tmp_path_factory.mktemp("dashboards")
    write_study(folder)
    [study] = {path.parents[3].name for path in folder.glob("runs/*/*/*/seed=*/run.json")}
    plant(folder, f"{study}/sst2/lora")
    figures = {"search": ["search_history"], "drift": ["layer_profiles", "frontier", "hypotheses"]}
    for name, drawn in figures.items():
        run_analysis(settings(folder, name, figures=drawn))
    places = [f"analysis.runs={folder}/runs", f"analysis.results={folder}/results"]
    command = [sys.executable, "analyze.py", "analysis=dashboards", "entity=someone", *places]
    process = ForkedProcess(command, ROOT, {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY})
    out, err = process.communicate()
    assert process.returncode == 0, err
    return folder, study, out + err


def test_it_says_what_uploads_the_runs(pushed):
    folder, _, said = pushed
    [run] = (folder / "results/dashboards/wandb").glob("offline-run-*")
    assert f"`wandb sync {run}` upload" in said
    assert "none of the study's own was logged with logger=wandb" in said
    assert list(run.glob("*.wandb")) and list(run.rglob("layer_profiles*.png"))


def test_only_what_was_logged_is_to_be_uploaded(tmp_path):
    for study in ("drift", "drift.search", "drift2"):
        (tmp_path / study / "sst2/lora/seed=1/wandb/offline-run-1").mkdir(parents=True)
    logged = "*/*/*/wandb/offline-run-*"
    patterns = [f"{tmp_path}/drift/{logged}", f"{tmp_path}/drift.search/{logged}"]
    assert dashboards.offline_runs(str(tmp_path), "drift") == patterns


def test_w_and_b_disabled_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(UserError, match="WANDB_MODE=disabled logs nothing; WANDB_MODE=offline"):
        run_analysis(settings(tmp_path, "dashboards"))


def test_no_key_is_written_anywhere(pushed):
    folder, _, said = pushed
    assert KEY not in said
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_the_workspace_shows_drift_performance_search_and_hypotheses(pushed):
    folder, study, _ = pushed
    view = json.loads((folder / "results/dashboards/workspace.json").read_text())
    section = view["spec"]["section"]
    names = [each["name"] for each in section["panelBankConfig"]["sections"]]
    drift, performance = "Drift by layer", "Drift against performance"
    assert names[:4] == [drift, performance, "Search history", "Hypotheses"]
    text = json.dumps(section)
    for logged in ("drift/layer_0", "drift/mean", "evaluation/accuracy", "validation/accuracy"):
        assert logged in text
    for name, figure in {drift: "layer_profiles", performance: "frontier"}.items():
        [mine] = [each for each in section["panelBankConfig"]["sections"] if each["name"] == name]
        shown = json.dumps(mine)
        # without it no run logs its drift, and only the figure is there
        assert "callbacks.online_drift.enabled=true" in shown and f"figures/{figure}" in shown
    for figure in ("layer_profiles", "frontier", "search_history", "hypotheses"):
        assert f"figures/{figure}" in text
    assert f'"value": "{study}"' in json.dumps(section["runSets"])


def test_the_report_has_the_same_sections_with_the_verdicts(pushed):
    folder, study, _ = pushed
    report = json.loads((folder / "results/dashboards/report.json").read_text())
    assert report["displayName"] == f"Representation drift: {study}"
    text = json.dumps(report["spec"])
    for heading in ("Drift by layer", "Search history", "Hypotheses"):
        assert heading in text
    assert "| claim | ratio |" in text


def test_without_results_or_the_package_it_says_what_to_do(pushed, tmp_path, monkeypatch):
    folder, _, _ = pushed
    (tmp_path / "runs").symlink_to(folder / "runs")
    with pytest.raises(UserError, match=r"summary\.parquet is missing: `python analyze\.py` makes"):
        run_analysis(settings(tmp_path, "dashboards"))
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match=r"pip install '.\[dashboards\]'"):
        run_analysis(settings(tmp_path, "dashboards"))
