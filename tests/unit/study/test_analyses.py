"""An analysis is done once, and the search is reported before the drift report shows its flags."""

from dataclasses import replace
from pathlib import Path

import pytest
from planted_search import plant

from loradrift.analysis.registry import ANALYSES, register_all
from loradrift.analysis.search.page import found_edges
from loradrift.study import analyses
from loradrift.study.analyses import Step, analyse, step_of


@pytest.fixture(autouse=True)
def committed(monkeypatch):
    monkeypatch.setattr(analyses, "git_state", lambda: {"commit": "abc", "dirty": False})


@pytest.fixture
def step(tmp_path):
    """One that has been done; it is undone by other code, or by another file."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "tables").mkdir()
    step = Step(tmp_path / "stamp.json", [tmp_path / "run.json"], [tmp_path / "tables"])
    assert not step.done
    step.run(lambda: (tmp_path / "tables/a.csv").write_text("1"))
    assert step.done
    assert step.remembered["seconds"] >= 0
    return step


@pytest.mark.parametrize("file", ["run.json", "tables/a.csv", "tables/b.csv", "stamp.json"])
def test_another_file_undoes_it(step, tmp_path, file):
    (tmp_path / file).write_text("other")
    assert not step.done


def test_other_code_undoes_it(step, monkeypatch):
    for state in ({"commit": "def", "dirty": False}, {"commit": "abc", "dirty": 1}):
        monkeypatch.setattr(analyses, "git_state", lambda state=state: state)
        assert not step.done


def test_what_a_killed_process_left_half_written_goes(step, tmp_path):
    for folder in (tmp_path, tmp_path / "tables"):
        (folder / ".a.csv.0123.tmp").write_text("half")
    step.run(lambda: None)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.fixture
def settings(load, tmp_path):
    """Of a study in which only the analyses are left."""
    return load("study=drift", f"runs={tmp_path}/runs", f"results={tmp_path}/results")


@pytest.fixture
def made(monkeypatch):
    names = []

    def note(settings):
        config = settings.analysis
        names.append((config.name, bool(found_edges(Path(config.results), config.study))))

    register_all()
    for name in ("drift", "report"):
        noting = replace(ANALYSES[name], tables=note, page=lambda settings, tables: None)
        monkeypatch.setitem(ANALYSES, name, noting)
    return names


@pytest.fixture
def trial(tmp_path):
    """The record of a search's trial."""
    path = tmp_path / "runs/drift.search/sst2/lora/seed=1/run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def test_the_flags_are_there_when_the_report_is_made(settings, made, trial, tmp_path, capsys):
    plant(tmp_path, "drift/sst2/lora")
    for phase in ("analysis", "report"):
        analyse(phase, settings, None)
    assert made == [("drift", True), ("report", True)]
    assert capsys.readouterr().out.count("searches of study drift") == 1
    assert step_of("report", settings).done
    edges = tmp_path / "results/search/drift/edges.parquet"
    edges.write_bytes(edges.read_bytes()[:-1])
    assert not step_of("report", settings).done  # other flags are another report


def test_another_benchmark_undoes_the_verdicts(settings, made, tmp_path):
    """H3 is read from it."""
    analyse("analysis", settings, None)
    assert step_of("analysis", settings).done
    path = tmp_path / "results/deployment/deployment_benchmark.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert not step_of("analysis", settings).done


def test_a_study_without_a_search_is_reported_all_the_same(settings, made, trial, tmp_path, capsys):
    analyse("report", settings, None)
    trial.unlink()
    (tmp_path / "runs/.study/drift/report.json").unlink()
    analyse("report", settings, None)
    assert made == [("report", False), ("report", False)]
    assert capsys.readouterr().out.count("not analysed: storage=sqlite:") == 1


def test_the_searches_may_be_in_a_storage_of_their_own(settings, made, trial, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    elsewhere = (tmp_path / "runs/.search/drift.db").rename(tmp_path / "elsewhere.db")
    analyse("report", settings, f"sqlite:///{elsewhere}")
    assert made == [("report", True)]
