"""Searches with a training that takes a moment; those that are killed have their own process."""

import json
import os
import re
import signal
import time

import pytest
from searching import LR, begun, finish, run, search, search_here, settled, states, trials

pytestmark = pytest.mark.end_to_end

SIDE_BY_SIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted search of 10 trials; a test adds two."""
    runs = tmp_path_factory.mktemp("whole")
    search_here(runs=runs)
    return runs


def test_a_search_prunes_and_given_again_goes_on_to_more_trials(whole):
    found = trials(whole)
    assert len(found) == settled(found) == 10 and states(found)["PRUNED"] >= 2
    assert all(trial.state.name == "COMPLETE" for trial in found[:3])  # none to compare with
    out, _ = search_here(runs=whole, n_trials=12)
    assert "10 of 12 trials done" in out and "#10 :" in out and "#11 :" in out
    assert len(trials(whole)) == 12
    lines = (whole / "begun.log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(12)]
    search_here(runs=whole, n_trials=12)
    assert len(begun(whole)) == 12, "finished trials are not repeated"
    _, err = search_here(runs=whole, n_trials=5, code=1)
    assert "hydra.sweeper.n_trials must be at least 12, the trials that main/sst2/lora has" in err


@pytest.mark.parametrize("kills", [(5,), pytest.param((2, 5, 8), marks=pytest.mark.slow)])
def test_killed_it_ends_with_exactly_its_trials(tmp_path, whole, kills):
    runs = tmp_path / "killed"
    runs.mkdir()
    for wanted in kills:  # killed in the middle of a trial
        process = search(runs=runs, env={"STEP_S": "0.1"})
        begun(runs, wanted)
        time.sleep(0.05)
        process.kill()
        process.communicate()
    search_here(runs=runs)
    found = trials(runs)
    assert settled(found) == 10 and states(found)["FAIL"] == len(kills), "the killed ones"
    # what was killed went on with the same values, in the same cell
    values = [trial.params["method.optim.lr"] for trial in found if trial.state.name != "FAIL"]
    assert sorted(values) == sorted(t.params["method.optim.lr"] for t in trials(whole)[:10])
    assert (len(begun(runs)), len(set(begun(runs)))) == (10 + len(kills), 10)


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path):
    wide = "method.optim.lr=tag(log,interval(2e-3,1e-1))"
    out, _ = search_here(wide, runs=tmp_path, n_trials=5)
    found = trials(tmp_path)
    assert len(found) == 5 and states(found)["FAIL"] >= 1
    failed = next(trial for trial in found if trial.state.name == "FAIL")
    assert failed.user_attrs["error"].startswith("loss is nan at step 1")
    assert "best " in out
    hopeless, lr = tmp_path / "hopeless", "method.optim.lr=tag(log,interval(2e-2,1e-1))"
    hopeless.mkdir()
    out, err = search_here(lr, "task=sst2,rte", runs=hopeless, n_trials=1, code=1)
    for task in ("sst2", "rte"):  # one task's search does not end the others'
        why = f"main/{task}/lora: no trial was completed; the last error: loss is nan at step 1"
        assert why in out and why in err


@pytest.mark.parametrize("on_server", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_workers_share_a_search_and_one_is_killed(tmp_path, request, on_server):
    url = request.getfixturevalue("postgres") if on_server else None
    runs, env = tmp_path / "runs", {"STEP_S": "0.1"}
    runs.mkdir()
    options = [f"hydra.sweeper.storage={url}"] if url else []
    first, second = (search(*options, runs=runs, env=env, n_trials=8) for _ in range(2))
    begun(runs, 4)
    second.kill()
    second.communicate()
    finish(first)
    found = trials(runs, url)
    assert settled(found) == 8 and states(found)["FAIL"] <= 1, states(found)
    assert len(set(begun(runs))) == 8, "none is done twice"


@pytest.mark.slow
def test_side_by_side_a_trial_begins_as_soon_as_another_ends(tmp_path):
    env = {"STEP_S": "0.2", "FIRST_TAKES": "10"}
    run(*SIDE_BY_SIDE, "hydra.sweeper.pruner=none", runs=tmp_path, n_trials=4, env=env)
    found = trials(tmp_path)
    assert settled(found) == 4
    # the first takes as long as ten: the other three ran beside it, one after the other
    assert all(trial.datetime_complete < found[0].datetime_complete for trial in found[1:])


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False])
@pytest.mark.parametrize("launcher", [SIDE_BY_SIDE[:2], ("hydra/launcher=submitit_local",)])
def test_side_by_side_it_stops_when_asked_to(tmp_path, launcher, to_all):
    options = (*launcher, "hydra.sweeper.n_jobs=2")
    process = search(*options, runs=tmp_path, n_trials=6, env={"STEP_S": "1"})
    begun(tmp_path, 2)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)  # as a terminal does, or not
    finish(process, 130)
    assert len(begun(tmp_path)) == 2
    assert states(trials(tmp_path)) == {"RUNNING": 2}
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert [record["status"] for record in records] == ["interrupted"] * 2
    run(*options, runs=tmp_path, n_trials=6)
    assert settled(trials(tmp_path)) == 6


@pytest.mark.slow
def test_asked_to_stop_before_its_workers_have_begun_it_goes_on_with_the_same_values(tmp_path):
    for _ in range(2):
        process = search(*SIDE_BY_SIDE, runs=tmp_path, n_trials=2)
        assert "0 of 2 trials done" in process.stdout.readline()
        time.sleep(0.3)  # the workers are being started
        os.killpg(process.pid, signal.SIGINT)
        out, err = finish(process, 130)
        assert "Traceback" not in err, err
        assert "killed" not in out + err
    run(*SIDE_BY_SIDE, runs=tmp_path, n_trials=2)
    found = trials(tmp_path)
    assert settled(found) == 2
    assert len({trial.params["method.optim.lr"] for trial in found}) == 2, "none was given up"


@pytest.mark.slow
def test_killed_once_it_is_run_once_more_and_killed_twice_others_take_its_place(tmp_path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    for runs, those in ((once, "1"), (twice, "1 2")):
        runs.mkdir()
        (runs / "die").write_text(those)
    out, _ = run(*SIDE_BY_SIDE, runs=once, n_trials=3)
    assert "trial 1 was lost (its job ended without an outcome); it is queued once more" in out
    assert settled(trials(once)) == 3
    said = [run(runs=twice, n_trials=3, code=code)[0] for code in (9, 9, 0)]
    assert "trial 1 was lost (its process has ended); it is queued once more" in said[1]
    assert "trial 2 was lost (its process has ended); so was trial 1 with the same" in said[2]
    found = trials(twice)
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "FAIL", *["COMPLETE"] * 2]
    _, first, again, *others = (trial.params["method.optim.lr"] for trial in found)
    assert first == again and first not in others


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("hydra.sweeper.n_jobs=2", "n_jobs=2 needs a launcher that starts processes"),
        (" ".join([*SIDE_BY_SIDE[:2], "hydra.sweeper.n_jobs=3"]),
         "n_jobs=3 trials at a time need as many of hydra.launcher.n_jobs, got 2"),
        ("seed=1,2", "seed cannot be searched: a search has one seed, and best=true -m seed="),
        ("hydra/sweeper/sampler=grid", "hydra/sweeper/sampler=grid needs choices: "),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials must be positive, got 0"),
        ("method.optim.lr=1e-3", "needs a range to search"),
        ("hydra.sweeper.pruner=strict", "hydra.sweeper.pruner must be median or hyperband"),
        ("hydra.sweeper.max_failure_rate=7", r"max_failure_rate must be in \[0, 1\], got 7"),
        ("hydra.sweeper.study_name=x", "study_name=x has no effect: a search is called <study"),
        ("hydra.sweeper.direction=[maximize,minimize]", "direction must be maximize or minimize"),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction must be maximize or minimize"),
        ("hydra.sweeper.heartbeat_s=0", "hydra.sweeper.heartbeat_s must be positive, got 0"),
        ("hydra.sweeper.grace_s=15", "grace_s must be longer than .*heartbeat_s=15, got 15"),
        ("hydra.sweeper.storage=postgresql+psycopg://me:hunter2@x/y",
         r"postgresql\+psycopg://me:\*\*\*@x/y holds a password"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(tmp_path, typed, message):
    out, err = search_here(*typed.split(), runs=tmp_path, code=1)
    [line] = [line for line in err.splitlines() if line.startswith("error:")]
    assert re.search(message, line), err
    assert "Traceback" not in err and "hunter2" not in out + err


def test_a_study_of_another_space_is_refused(tmp_path):
    search_here(runs=tmp_path, n_trials=1)
    wider = r"method.optim.lr: tag\(log,interval\(0.0001,0.01\)\) -> .*\(0.0001,0.1\)\)"
    for changed, message in (
        (LR.replace("1e-2", "1e-1"), wider),
        ("method.rank=4", r"method.rank: 8 -> 4"), ("task.epochs=1", r"task.epochs: None -> 1"),
        ("method.rank=choice(4,8)", r"method.rank: 8 -> choice\(4,8\)"),
        ("hydra.sweeper.direction=minimize", "was created to maximize, and now is to minimize"),
    ):  # fmt: skip
        _, err = search_here(changed, runs=tmp_path, n_trials=2, code=1)
        assert "Traceback" not in err
        assert re.search(message, err), err
    assert len(trials(tmp_path)) == 1
    same = ("logger=wandb", "hydra.sweeper.pruner=none", "seed=0", "method.rank=8")
    search_here(*same, runs=tmp_path, n_trials=2)  # what only watches, or is so anyway


def test_what_is_illegal_leaves_nothing_and_what_is_corrected_begins(tmp_path):
    name = "study.name='it\\'s'"
    out, err = search_here("method.rnak=choice(4,8)", name, runs=tmp_path, n_trials=1, code=1)
    assert re.search("Could not override 'method.rnak'. .* mean: 'rank'?", err), err
    assert "begun" not in out and not (tmp_path / "begun.log").exists()
    search_here("method.rank=choice(4,8)", name, runs=tmp_path, n_trials=1)
    assert begun(tmp_path)[0].startswith("it's.search/sst2/lora,")
