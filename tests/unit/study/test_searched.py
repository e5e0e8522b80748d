"""A study and its searches: their options, their trials, and what production makes of them."""

import json
import re

import pytest
from planted_search import plant
from searching import begun, contents


def test_production_uses_what_the_search_found(run, tmp_path):
    typed = ("study.phases=[search,production]", "method=lora", "study.seeds=[1]", "study.trials=2")
    out, _ = run(tmp_path, *typed)
    *trials, production = begun(tmp_path / "runs")
    paths = [tmp_path / "runs" / each / "run.json" for each in (*trials, production)]
    records = [json.loads(path.read_text()) for path in paths]
    assert [record["phase"] for record in records] == ["search", "search", "production"]
    assert {"search.trial=1", "phase=search", "task=sst2"} < set(records[1]["overrides"])
    assert {"best=true", "method=lora", "seed=1"} < set(records[2]["overrides"])
    assert len(trials) == 2 and all(each.startswith("drift.search/sst2/lora,") for each in trials)
    assert production == "drift/sst2/lora,best=True/seed=1"
    found = re.search(r"in trial \d: .*method.optim.lr=(\S+)", out)[1]
    assert records[2]["config"]["method"]["optim"]["lr"] == pytest.approx(float(found))
    out, _ = run(tmp_path, *typed)
    assert len(begun(tmp_path / "runs")) == 3
    assert "phase production: 1 cells, 1 finished already" in out
    warning = "production cells have the best values so far"
    assert warning not in out
    out, _ = run(tmp_path, *typed[:3], "study.trials=3", "study.dry_run=true")
    assert warning in out


def test_trials_are_counted_as_the_search_counts_them(run, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    before = contents(tmp_path)
    typed = ("study.phases=[search]", "method=lora", "study.dry_run=true")
    out, _ = run(tmp_path, *typed, "study.trials=5")
    assert re.search(r"search\W+sst2\W+lora\W+5\W+5\W+0 s", out)
    assert "disk: nothing is left to write" in out
    out, _ = run(tmp_path, *typed, "study.trials=6")
    assert re.search(r"search\W+sst2\W+lora\W+6\W+5\W+unknown", out)
    for dry in ("true", "false"):  # fewer than it has are refused before the first phase
        typed = ("study.phases=[baselines,search]", "method=lora", f"study.dry_run={dry}")
        _, err = run(tmp_path, *typed, "study.trials=4", code=1)
        said = "study.trials must be at least 5, the trials that the search of sst2/lora has behind"
        assert said in err
    assert contents(tmp_path) == before


def test_production_without_what_its_search_found_is_refused(run, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    typed = ("study.phases=[production]", "method=lora", "study.seeds=[1]")
    _, err = run(tmp_path, *typed, code=1)
    assert not begun(tmp_path / "runs")
    said = r"no results/search/drift/sst2_lora.yaml, though the search of sst2/lora has 5 trials"
    assert re.search(rf"{said} .*: study.phases=\[search\] ends it and writes the file", err)
    dumps = "callbacks.activation_dump.enabled"
    _, err = run(tmp_path, *typed, "best=false", f"{dumps}=false", code=1)
    assert f"{dumps} must be true with study=drift, whose report measures drift, got False" in err
    run(tmp_path, *typed, "best=false")
    assert begun(tmp_path / "runs") == ["drift/sst2/lora/seed=1"]


SECRET = "storage='postgresql+psycopg://me:hunter2@127.0.0.1:1/x'"


@pytest.mark.parametrize(
    ("phases", "option", "message"),
    [
        ("baselines,search", SECRET, "x holds a password, which records"),
        ("production,report", SECRET, "x holds a password, which records"),
        ("baselines,search", "n_jobs=2", "hydra.sweeper.n_jobs=2 needs a launcher that starts"),
        ("baselines,search", "direction=up", "direction must be maximize or minimize, got up"),
    ],
)
def test_a_searchs_options_are_judged_at_the_door(run, tmp_path, phases, option, message):
    for dry in ("true", "false"):
        typed = (f"study.phases=[{phases}]", f"hydra.sweeper.{option}", f"study.dry_run={dry}")
        out, err = run(tmp_path, *typed, code=1)
        assert message in err
        assert "hunter2" not in out + err
        assert not contents(tmp_path)


def test_a_server_out_of_reach_ends_a_study_before_its_first_phase_but_no_listing(run, tmp_path):
    away = "hydra.sweeper.storage='postgresql+psycopg://me@127.0.0.1:1/x'"
    typed = ("study.phases=[baselines,search]", "method=lora", away)
    out, err = run(tmp_path, *typed, code=1)
    assert "phase" not in out
    assert re.search(r"127.0.0.1:1/x (cannot be opened|needs a driver)", err)
    assert not contents(tmp_path)
    out, _ = run(tmp_path, *typed, "study.dry_run=true")
    assert re.search(r"search\W+sst2\W+lora\W+10\W+0\W+unknown", out)


@pytest.mark.slow
def test_the_report_shows_the_flags_of_the_studys_own_search(run, tmp_path):
    phases = "study.phases=[search,production,analysis,report]"
    typed = (phases, "study.seeds=[1]", "study.trials=2")
    out, _ = run(tmp_path, *typed)
    *trials, full, lora = begun(tmp_path / "runs")
    assert len(trials) == 4 and all(each.startswith("drift.search/sst2/") for each in trials)
    assert full == "drift/sst2/full_finetune,best=True/seed=1"
    assert lora == "drift/sst2/lora,best=True/seed=1"
    record = json.loads((tmp_path / "runs" / lora / "run.json").read_text())
    # of two batch sizes one is at an edge: the report says so, because its search came first
    assert out.index("searches of study drift") < out.index("phase analysis")
    edge = f"task.batch_size={record['config']['task']['batch_size']} is on the"
    assert edge in out
    page = (tmp_path / "results/report.html").read_text()
    assert "Best values within 5 % of the end of their range" in page
    assert re.search(r"task\.batch_size<.*choice\(", page)
    out, _ = run(tmp_path, *typed)
    assert len(begun(tmp_path / "runs")) == 6
    assert "phase production: 2 cells, 2 finished already" in out
