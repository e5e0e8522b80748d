"""The phases of a study, with a training that takes a moment."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from front_doors import run_here
from planted_search import plant

from loradrift.runs.record import git_state
from loradrift.study import disk

APP = Path(__file__).with_name("quick_train.py")
PLANTED = Path(__file__).parents[1] / "analysis"
PHASES = "study.phases=[sanity,baselines,production,analysis]"


TYPED = ("study=drift", "-m", "task=sst2")


def start(folder, *overrides):
    command = [sys.executable, str(APP), *TYPED, *overrides]
    path = os.pathsep.join([str(PLANTED), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(cache):
    """Exit code, stdout and stderr of a command in this process."""

    def command(folder, *overrides):
        done = run_here(APP, *TYPED, f"cache={cache}", *overrides, cwd=folder)
        return done.returncode, done.stdout, done.stderr

    return command


def begun(folder):
    log = folder / "runs" / "begun.log"
    return log.read_text().splitlines() if log.exists() else []


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A study of two seeds, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    code, out, err = run(folder, PHASES, "study.seeds=[1,2]")
    assert code == 0, err
    return folder, out


def test_the_phases_run_in_order_and_leave_their_cells(whole):
    folder, out = whole
    said = re.findall(r"^phase (\w+)", out, re.M)
    assert said == ["sanity", "baselines", "production", "analysis"]
    assert begun(folder) == [
        "drift.sanity/sst2/full_finetune,experiment=overfit,task.max_steps=150/seed=1",
        "drift.sanity/sst2/lora,experiment=overfit,task.max_steps=150/seed=1",
        *(f"drift/sst2/{name}/seed=1" for name in ("majority", "random", "zero_shot")),
        *(f"drift/sst2/{name}/seed={n}" for name in ("full_finetune", "lora") for n in (1, 2)),
    ]
    assert re.search(r"sst2\W+lora\W+7\W+1 MiB", out)  # the memory of each task and method
    assert not list(folder.rglob("last.ckpt")) and len(list(folder.rglob("best.ckpt"))) == 6
    assert (folder / "results/drift_analysis/drift_analysis_results.json").is_file()
    assert not (folder / "results/report.html").exists()  # that is the report's phase


def test_what_is_done_is_skipped_and_shown(whole, run):
    folder, first = whole
    before, jobs = contents(folder / "results"), len(begun(folder))
    code, out, err = run(folder, PHASES, "study.seeds=[1,2]")
    assert code == 0, err
    assert len(begun(folder)) == jobs
    assert "phase production: 4 cells, 4 finished already" in out
    if not git_state()["dirty"]:
        assert "phase analysis: done already, of these very runs" in out
    table = first[first.index("Finished runs") :]
    assert table in out
    assert contents(folder / "results") == before


def test_a_listing_says_what_is_left_and_for_how_long(whole, run):
    folder, _ = whole
    before = contents(folder)
    phases = "study.phases=[baselines,base,search,production,analysis,report]"
    code, out, err = run(
        folder, phases, "study.seeds=[1,2,3]", "study.dry_run=true", "study.trials=4"
    )
    assert code == 0, err
    assert re.search(r"production\W+sst2\W+full_finetune\W+3\W+2\W+2 s\W+lora\W+3\W+2\W+2 s", out)
    assert re.search(r"search\W+sst2\W+full_finetune\W+4\W+0\W+unknown\W+lora\W+4\W+0", out)
    for once in ("production", "baselines"):
        assert len(re.findall(rf"│ {once} ", out)) == 1
    assert re.search(r"time left: \d+ s, and unknown for search, report \(nothing like it", out)
    assert re.search(r"disk: about [\d.]+ MiB below runs \(.* of weights, .* are free", out)
    assert contents(folder) == before


def test_a_listing_says_what_does_not_fit(whole, run, monkeypatch):
    folder, _ = whole
    phases, dry = "study.phases=[production]", "study.dry_run=true"
    code, out, err = run(folder, phases, "study.seeds=[1,2]", dry)
    assert code == 0 and "disk: nothing is left to write but tables and figures" in out, err
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 2**20)
    code, out, err = run(folder, phases, "study.seeds=[1,2,3]", dry)
    assert code == 0, err
    assert re.search(r"disk: study=drift needs about .*, and 1.0 MiB are free; fewer seeds", out)


def test_a_default_that_changed_underneath_is_noticed(whole, run):
    folder, _ = whole
    path = folder / "runs/drift/sst2/lora/seed=2/run.json"
    was = path.read_text()
    path.write_text(was.replace('"rank": 8', '"rank": 4'))
    code, out, err = run(folder, "study.phases=[production]", "study.seeds=[1,2]")
    path.write_text(was)
    assert code == 1
    assert "4 cells, 3 finished already" in out
    assert "holds a run with another configuration: method.rank: 4 -> 8; force=true" in err


def test_a_failed_cell_ends_the_study_after_its_phase(run, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("full_finetune")
    code, out, err = run(tmp_path, PHASES, "study.seeds=[1,2]")
    assert code == 1
    name = "drift.sanity/sst2/full_finetune,experiment=overfit,task.max_steps=150/seed=1"
    assert f"error: no such luck (in {name})\n" in err
    assert f"failed: no such luck (in {name})\n" in out
    assert "phase sanity: 1 of 2 cells failed; the phases after it need them, and wait" in out
    assert {Path(each).parts[0] for each in begun(tmp_path)} == {"drift.sanity"}


def test_a_killed_study_ends_with_the_same_results(whole, run, cache, tmp_path):
    folder, _ = whole
    phases = "study.phases=[production,analysis]"
    process = start(tmp_path, f"cache={cache}", phases, "study.seeds=[1,2]")
    while process.poll() is None and len(begun(tmp_path)) < 3:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    code, _, err = run(tmp_path, phases, "study.seeds=[1,2]")
    assert code == 0, err
    assert len(begun(tmp_path)) <= 5  # the one that was killed, once more
    assert contents(tmp_path / "results") == contents(folder / "results")


def test_production_uses_what_the_search_found(run, tmp_path):
    typed = ("study.phases=[search,production]", "method=lora", "study.seeds=[1]", "study.trials=2")
    code, out, err = run(tmp_path, *typed)
    assert code == 0, err
    *trials, production = begun(tmp_path)
    assert len(trials) == 2 and all(each.startswith("drift.search/sst2/lora,") for each in trials)
    assert production == "drift/sst2/lora,best=True/seed=1"
    found = re.search(r"in trial 0: .*method.optim.lr=(\S+)", out)[1]
    record = json.loads((tmp_path / "runs" / production / "run.json").read_text())
    assert record["config"]["method"]["optim"]["lr"] == pytest.approx(float(found))
    code, out, err = run(tmp_path, *typed)
    assert (code, len(begun(tmp_path))) == (0, 3), err
    assert "phase production: 1 cells, 1 finished already" in out
    warning = "production cells have the best values so far"
    assert warning not in out
    code, out, err = run(tmp_path, *typed[:3], "study.trials=3", "study.dry_run=true")
    assert code == 0 and warning in out, err


def test_a_listing_counts_the_trials_that_the_search_counts(run, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    before = contents(tmp_path)
    typed = ("study.phases=[search]", "method=lora", "study.dry_run=true")
    code, out, err = run(tmp_path, *typed, "study.trials=5")
    assert code == 0, err
    assert re.search(r"search\W+sst2\W+lora\W+5\W+5\W+0 s", out)
    assert "disk: nothing is left to write" in out
    code, out, err = run(tmp_path, *typed, "study.trials=6")
    assert re.search(r"search\W+sst2\W+lora\W+6\W+5\W+unknown", out)
    assert contents(tmp_path) == before


def test_a_study_of_fewer_trials_than_it_has_is_refused_before_its_first_phase(run, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    before = contents(tmp_path)
    for dry in ("true", "false"):
        typed = ("study.phases=[baselines,search]", "method=lora", f"study.dry_run={dry}")
        code, _, err = run(tmp_path, *typed, "study.trials=4")
        said = "study.trials must be at least 5, the trials that the search of sst2/lora has behind"
        assert code == 1 and said in err
    assert contents(tmp_path) == before


def test_production_without_what_its_search_found_is_refused(run, tmp_path):
    plant(tmp_path, "drift/sst2/lora")
    typed = ("study.phases=[production]", "method=lora", "study.seeds=[1]")
    code, _, err = run(tmp_path, *typed)
    assert code == 1 and not begun(tmp_path)
    said = r"no results/search/drift/sst2_lora.yaml, though the search of sst2/lora has 5 trials"
    assert re.search(rf"{said} .*: study.phases=\[search\] ends it and writes the file", err)
    code, _, err = run(tmp_path, *typed, "best=false")
    assert code == 0, err
    assert begun(tmp_path) == ["drift/sst2/lora/seed=1"]


SECRET = "postgresql+psycopg://me:hunter2@127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("phases", "option", "message"),
    [
        ("[baselines,search]", f"storage='{SECRET}'", "x holds a password, which records"),
        ("[production,report]", f"storage='{SECRET}'", "x holds a password, which records"),
        ("[baselines,search]", "n_jobs=2", "hydra.sweeper.n_jobs=2 needs a launcher that starts"),
        ("[baselines,search]", "direction=up", "direction must be maximize or minimize, got up"),
    ],
)
def test_a_searchs_options_are_judged_before_the_first_phase(
    run, tmp_path, phases, option, message
):
    for dry in ("true", "false"):
        typed = (f"study.phases={phases}", f"hydra.sweeper.{option}", f"study.dry_run={dry}")
        code, out, err = run(tmp_path, *typed)
        assert code == 1 and message in err
        assert "hunter2" not in out + err
        assert not contents(tmp_path)


def test_a_server_out_of_reach_ends_a_study_before_its_first_phase_but_no_listing(run, tmp_path):
    away = "hydra.sweeper.storage='postgresql+psycopg://me@127.0.0.1:1/x'"
    typed = ("study.phases=[baselines,search]", "method=lora", away)
    code, out, err = run(tmp_path, *typed)
    assert code == 1 and "phase" not in out
    assert re.search(r"127.0.0.1:1/x (cannot be opened|needs a driver)", err)
    assert not contents(tmp_path)
    code, out, err = run(tmp_path, *typed, "study.dry_run=true")
    assert code == 0, err
    assert re.search(r"search\W+sst2\W+lora\W+10\W+0\W+unknown", out)


@pytest.mark.slow
def test_the_report_shows_the_flags_of_the_studys_own_search(run, tmp_path):
    phases = "study.phases=[search,production,analysis,report]"
    typed = (phases, "study.seeds=[1]", "study.trials=2")
    code, out, err = run(tmp_path, *typed)
    assert code == 0, err
    *trials, full, lora = begun(tmp_path)
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
    assert "task.batch_size=choice(" in page
    code, out, err = run(tmp_path, *typed)
    assert (code, len(begun(tmp_path))) == (0, 6), err
    assert "phase production: 2 cells, 2 finished already" in out
