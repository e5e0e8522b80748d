"""The search's report: trials in every state, what was best, and where to look further."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState
from planted_search import add, plant

from loradrift.analysis.registry import make_config, run_analysis
from loradrift.analysis.search.page import found_edges, summary_table
from loradrift.analysis.search.tables import MIN_TRIALS, tabulate
from loradrift.config import UserError
from loradrift.sweeping.recovery import note_interruption


def settings(folder, storage=None, **options):
    places = {"runs": f"{folder}/runs", "results": f"{folder}/results"}
    return make_config("search", keys={"storage": storage}, **places, **options)


def tables(folder):
    return tabulate(settings(folder)).tables


RESULTS = "results/search/main"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Two searches of one study, reported; gives the folder."""
    folder = tmp_path_factory.mktemp("search")
    plant(folder)
    plant(folder, "main/mrpc/full_finetune", trials=2)
    run_analysis(settings(folder))
    return folder


def test_the_tables_know_how_each_trial_ended_and_its_values(reported):
    trials = pd.read_parquet(reported / RESULTS / "trials.parquet")
    mine = trials[trials["task"] == "sst2"].set_index("number")
    states = "complete pruned complete failed complete running"
    assert list(mine["state"]) == states.split()
    assert list(mine["value"].fillna(-1)) == [0.7, 0.55, 0.91, -1, 0.8, -1]
    assert list(mine["seconds"].fillna(-1)) == [60, 20, 60, 5, 60, -1]
    assert mine["error"][3] == "the loss is not finite"
    assert mine["share"][1] == 0.5
    values = pd.read_parquet(reported / RESULTS / "coordinates.parquet")
    mine = values[(values["task"] == "sst2") & (values["number"] == 4)].set_index("key")["value"]
    expected = {"method.dropout": "0.0", "method.optim.lr": "0.001", "method.rank": "8"}
    assert mine.to_dict() == expected


def test_a_killed_or_interrupted_trial_has_no_time(tmp_path):
    study = plant(tmp_path)
    add(study, TrialState.FAIL, None, lr=2e-3, seconds=7714)
    stopped = study.ask()  # by Ctrl-C
    note_interruption(study._storage, stopped._trial_id)
    study.tell(stopped, state=TrialState.FAIL)
    run_analysis(settings(tmp_path))
    folder = tmp_path / RESULTS
    trials = pd.read_csv(folder / "trials.csv").set_index("number")
    assert trials["state"][6] == "killed" and math.isnan(trials["seconds"][6])
    assert trials["state"][7] == "interrupted" and math.isnan(trials["seconds"][7])
    [summary] = pd.read_csv(folder / "summary.csv").to_dict("records")
    assert (summary["median_seconds"], summary["total_seconds"]) == (60, 205)
    assert "A killed or interrupted trial has no time" in (folder / "report.html").read_text()


def test_page_figures_and_best_values_are_there(reported):
    folder = reported / RESULTS
    page = (folder / "report.html").read_text()
    for name in ("search_history", "search_parallel", "search_time"):
        for search in ("sst2_lora", "mrpc_full_finetune"):
            assert (folder / "figures" / f"{name}_{search}.png").stat().st_size > 1000
    assert page.count("<figure>") == 6  # no importance: too few trials
    assert "SST-2, LoRA: 3 completed trials are too few" in page
    assert "tag(log,interval(0.0001,0.01))" in page
    best = {path.name for path in folder.glob("*.yaml")}
    assert best == {"sst2_lora.yaml", "mrpc_full_finetune.yaml"}
    [table] = found_edges(reported / "results", "main")  # as the drift report shows them
    assert {"method.optim.lr", "method.rank"} <= set(table.frame["key"])
    assert found_edges(reported / "results", "other") == found_edges(folder, None) == []
    # the plots show how the trials ended
    history = (folder / "figures/search_history_sst2_lora.svg").read_text()
    assert ">pruned</text>" in history and ">Best Value</text>" in history
    time = (folder / "figures/search_time_sst2_lora.svg").read_text()
    assert all(f">{state}</text>" in time for state in ("COMPLETE", "PRUNED", "FAIL"))
    assert ">RUNNING</text>" not in time  # nobody knows when a running one will end


def test_only_named_figures_are_drawn_and_a_second_report_is_the_same(reported, tmp_path, capsys):
    shutil.copytree(reported / "runs", tmp_path / "runs")
    run_analysis(settings(tmp_path, figures=["search_time"]))
    drawn = {path.stem for path in (tmp_path / RESULTS / "figures").iterdir()}
    assert drawn == {"search_time_sst2_lora", "search_time_mrpc_full_finetune"}
    with pytest.raises(UserError, match="must be some of search_history, search_parallel, "):
        run_analysis(settings(tmp_path, figures=["times"]))
    capsys.readouterr()
    run_analysis(settings(tmp_path))
    said = capsys.readouterr().out
    assert "3 complete, 1 pruned" in said
    assert "edge: SST-2, LoRA: method.rank=16 is on the upper edge of choice(4,8,16)" in said
    for path in (reported / "results").rglob("*.*"):
        again = tmp_path / "results" / path.relative_to(reported / "results")
        assert again.read_bytes() == path.read_bytes(), path


def test_equal_best_trials_are_counted(tmp_path):
    study = plant(tmp_path, trials=2)  # complete at 0.7, pruned
    add(study, TrialState.COMPLETE, 0.6, lr=1e-3)
    pruned = study.ask()
    pruned.report(0.7, 50)
    study.tell(pruned, state=TrialState.PRUNED)
    for others, text in enumerate(["0", "0, and 1 other", "0, and 2 others"]):
        found = tables(tmp_path)
        assert found.summary["tied"][0] == others
        [row] = summary_table(found).to_dict("records")
        assert (row["best"], row["in trial"]) == ("0.7", text)
        assert row["with"] == "dropout 0.1, learning rate 0.00011, rank 4"
        add(study, TrialState.COMPLETE, 0.7, lr=1e-3)


def test_what_decides_the_value_is_important_and_beats_chance(tmp_path, monkeypatch):
    monkeypatch.setattr("loradrift.analysis.search.tables.SHUFFLES", 20)
    study, draw = plant(tmp_path, trials=0), np.random.default_rng(0)
    for _ in range(40):
        lr = float(np.exp(draw.uniform(np.log(1e-4), np.log(1e-2))))
        dropout, rank = float(draw.uniform(0, 0.2)), int(draw.choice([4, 8, 16]))
        value = -abs(math.log(lr / 1e-3))
        add(study, TrialState.COMPLETE, value, lr=lr, dropout=dropout, rank=rank)
    found = tables(tmp_path).importance.set_index("key")
    assert found["importance"].sum() == pytest.approx(1)
    assert found.index[0] == "method.optim.lr"
    assert found["importance"]["method.optim.lr"] > found["chance"]["method.optim.lr"]
    assert found["importance"]["method.dropout"] < found["chance"]["method.dropout"]


def test_equal_values_and_a_search_without_a_finished_trial_do_not_crash(tmp_path, monkeypatch):
    monkeypatch.setattr("loradrift.analysis.search.tables.SHUFFLES", 5)
    study = plant(tmp_path, trials=0)
    for _ in range(MIN_TRIALS):
        add(study, TrialState.COMPLETE, 0.5, lr=1e-3)
    other = plant(tmp_path, "main/rte/lora", trials=0)
    add(other, TrialState.RUNNING, None, lr=1e-3)
    run_analysis(settings(tmp_path))
    summary = pd.read_csv(tmp_path / RESULTS / "summary.csv").set_index("task")
    assert math.isnan(summary["best_value"]["rte"]) and summary["best_trial"]["sst2"] == 0
    assert not (tmp_path / RESULTS / "rte_lora.yaml").exists()


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (None, r"there is no .*main\.db; `python train\.py search=lora -m` makes one"),
        ("nonsense", "storage=nonsense… is no URL"),
        ("sqlite:///nowhere.db", r"there is no nowhere\.db"),
        ("postgresql+psycopg://u:secret@host/x", r"u:\*\*\*@host/x holds a password"),
        ("postgresql+psycopg://u:secret@host:port/x", r"storage=postgresql.* no URL"),
        ("postgresql+nodriver://u@host/x", r"pip install '.\[cluster\]'"),
    ],
)
def test_a_missing_storage_is_one_line(tmp_path, storage, message):
    with pytest.raises(UserError, match=message) as caught:
        run_analysis(settings(tmp_path, storage))
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_storage_or_study_is_one_line(tmp_path):
    def refused(message, study=None, storage=None):
        with pytest.raises(UserError, match=message):
            run_analysis(settings(tmp_path, storage, study=study))

    plant(tmp_path, trials=0)
    plant(tmp_path, "other/sst2/lora")
    refused(r"analysis\.study must be one of main, other, got null")
    refused("the searches of study main have no trial yet", "main")
    (tmp_path / "runs/.search/bad.db").write_bytes(b"no database at all" * 99)
    refused("bad.db cannot be read as an Optuna storage: file is not", "bad")
    url = f"sqlite:///{tmp_path}/runs/.search/other.db"
    refused(r"analysis\.study must be one of other, got main", "main", url)
