"""The phases of a study, with a training that takes a moment."""

import re
import signal
import time
from itertools import islice
from pathlib import Path

import pytest
from searching import STUDY, begun, contents, finish, fork

from loradrift.runs import read_record
from loradrift.runs.record import git_state
from loradrift.study import disk

pytestmark = pytest.mark.end_to_end

SANITY = ",experiment=overfit,task.max_steps=150"
PHASES = "study.phases=[sanity,baselines,production,rounding,analysis]"
ONCE = "study.roundings=1"


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A study of two seeds, its cells in two other processes, and what it said."""
    folder = tmp_path_factory.mktemp("whole")
    typed = (PHASES, "study.seeds=[1,2]", ONCE, "hydra.launcher.n_jobs=2")
    out, err = run(folder, *typed, launcher=None)
    assert not err
    return folder, out


def test_the_phases_run_in_order_and_leave_their_cells(whole):
    folder, out = whole
    said = re.findall(r"^phase (\w+)", out, re.M)
    assert said == ["sanity", "baselines", "production", "rounding", "analysis"]
    wanted = [
        [f"drift.sanity/sst2/{each}{SANITY}/seed=1" for each in ("full_finetune", "lora")],
        [f"drift/sst2/{each}/seed=1" for each in ("majority", "random", "zero_shot")],
        [f"drift/sst2/{each}/seed={n}" for each in ("full_finetune", "lora") for n in (1, 2)],
        [f"drift/sst2/{each},trainer.rounding=1/seed=1" for each in ("full_finetune", "lora")],
    ]
    cells = begun(folder / "runs")
    phases = [read_record(folder / "runs" / each).phase for each in cells]
    numbers = {"sanity": 2, "baselines": 3, "production": 4, "rounding": 2}
    assert phases == [phase for phase, number in numbers.items() for _ in range(number)]
    found = iter(cells)  # those of one phase begin in any order
    assert [sorted(islice(found, len(phase))) for phase in wanted] == wanted
    assert not list(found)
    assert re.search(r"sst2\W+lora\W+7\W+1 MiB", out)  # the memory of each task and method
    assert not list(folder.rglob("last.ckpt")) and len(list(folder.rglob("best.ckpt"))) == 8
    assert (folder / "results/drift_analysis/drift_analysis_results.json").is_file()
    assert not (folder / "results/report.html").exists()  # that is the report's phase


def test_while_it_runs_there_are_few_plain_lines_and_the_rest_is_in_the_log(whole):
    folder, out = whole
    table = out.index("Finished runs")
    said, log = out[:table], (folder / re.search(r"full log: (\S+)", out)[1]).read_text()
    assert said.startswith("study drift: 11 cells, 0 finished already; full log: ")
    assert re.search(r"^rounding: cell 11 of 11, .* rounding 1, accuracy 80.0 %$", said, re.M)
    assert len(re.findall(r"^\w+: cell \d", said, re.M)) <= 11
    assert "HYDRA" not in out + log and "starting" not in out
    assert log.count(": starting\n") == 11


def test_what_is_done_is_skipped_and_shown(whole, run):
    folder, first = whole
    before, jobs = contents(folder / "results"), len(begun(folder / "runs"))
    out, _ = run(folder, PHASES, "study.seeds=[1,2]", ONCE)
    assert len(begun(folder / "runs")) == jobs
    assert "phase production: 4 cells, 4 finished already" in out
    if not git_state()["dirty"]:
        assert "phase analysis: done already, of these very runs" in out
    assert first[first.index("Finished runs") :] in out
    assert contents(folder / "results") == before


def test_a_listing_says_what_is_left_for_how_long_and_what_does_not_fit(whole, run, monkeypatch):
    folder, _ = whole
    before = contents(folder)
    phases = "study.phases=[baselines,base,search,production,rounding,analysis,report]"
    typed = (phases, "study.seeds=[1,2,3]", "study.dry_run=true", "study.trials=4")
    out, _ = run(folder, *typed)
    assert re.search(r"production\W+sst2\W+full_finetune\W+3\W+2\W+2 s\W+lora\W+3\W+2\W+2 s", out)
    assert re.search(r"rounding\W+sst2\W+full_finetune\W+2\W+1\W+2 s\W+lora\W+2\W+1\W+2 s", out)
    assert re.search(r"search\W+sst2\W+full_finetune\W+4\W+0\W+unknown\W+lora\W+4\W+0", out)
    for once in ("production", "baselines"):
        assert len(re.findall(rf"│ {once} ", out)) == 1
    assert re.search(r"time left: \d+ s, and unknown for search, report \(nothing like it", out)
    assert re.search(r"disk: about [\d.]+ MiB below runs \(.* of weights, .* are free", out)
    production = ("study.phases=[production]", "study.dry_run=true")
    out, _ = run(folder, *production, "study.seeds=[1,2]")
    assert "disk: nothing is left to write but tables and figures" in out
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 2**20)
    out, _ = run(folder, *production, "study.seeds=[1,2,3]")
    assert re.search(r"disk: study=drift needs about .*, and 1.0 MiB are free; fewer seeds", out)
    assert contents(folder) == before


def test_a_default_that_changed_underneath_is_noticed(whole, run):
    folder, _ = whole
    path = folder / "runs/drift/sst2/lora/seed=2/run.json"
    was = path.read_text()
    path.write_text(was.replace('"rank": 8', '"rank": 4'))
    out, err = run(folder, "study.phases=[production]", "study.seeds=[1,2]", code=1)
    path.write_text(was)
    assert "4 cells, 3 finished already" in out
    assert "holds a run with another configuration: method.rank: 4 -> 8; force=true" in err


def test_a_failed_cell_ends_the_study_after_its_phase(run, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail").write_text("full_finetune")
    out, err = run(tmp_path, PHASES, "study.seeds=[1,2]", code=1)
    name = f"drift.sanity/sst2/full_finetune{SANITY}/seed=1"
    assert f"error: no such luck (in {name})\n" in err
    assert f"failed: no such luck (in {name})\n" in out
    assert "phase sanity: 1 of 2 cells failed; the phases after it need them, and wait" in out
    assert {Path(each).parts[0] for each in begun(tmp_path / "runs")} == {"drift.sanity"}


@pytest.mark.parametrize(
    "launcher",
    ["hydra/launcher=basic", pytest.param("hydra.launcher.n_jobs=1", marks=pytest.mark.slow)],
)
def test_a_killed_study_ends_with_the_same_results(whole, run, cache, tmp_path, launcher):
    folder, _ = whole
    phases = ("study.phases=[production,rounding,analysis]", ONCE)
    typed = (f"cache={cache}", *phases, "study.seeds=[1,2]", launcher)
    process = fork(tmp_path, *STUDY, *typed)
    while process.poll() is None and len(begun(tmp_path / "runs")) < 3:
        time.sleep(0.002)
    process.kill()
    finish(process, -signal.SIGKILL)
    run(tmp_path, *phases, "study.seeds=[1,2]")
    assert len(begun(tmp_path / "runs")) <= 7  # the one that was killed, once more
    assert undated(tmp_path / "results") == undated(folder / "results")


def undated(folder):
    """The contents without days, so that midnight may come between two studies."""
    days = re.compile(rb"\d{4}-\d\d-\d\d(?: to \d{4}-\d\d-\d\d)?")
    return {name: days.sub(b"DAY", content) for name, content in contents(folder).items()}
