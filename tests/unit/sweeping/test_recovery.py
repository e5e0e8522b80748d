"""Trials whose process was killed: given up, queued once more, and said; too many end a search."""

import datetime
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from optuna.trial import TrialState, create_trial
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from loradrift.cli.entry_point import JobFailed
from loradrift.config import SearchConfig, UserError
from loradrift.sweeping import storage as module
from loradrift.sweeping.completion import check_failures
from loradrift.sweeping.recovery import is_gone, recover, worker
from loradrift.sweeping.reporting import Reporter
from loradrift.sweeping.storage import StorageUnusable, open_storage
from loradrift.sweeping.trial_callback import TrialCallback

NAME = "main/sst2/lora"
ENDED = f"{socket.gethostname()}:1:0"
"""A process of this machine that began at another time than the one with that number now."""


@pytest.fixture
def storage(tmp_path):
    return open_storage(f"sqlite:///{tmp_path}/trials.db")


@pytest.fixture
def study(storage):
    return optuna.create_study(study_name=NAME, storage=storage)


def claim(study, storage, by, launcher=None):
    """The next trial, running in the process ``by``; gives its number and its value."""
    trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    for name, process in (("worker", by), ("launcher", launcher)):
        if process:
            trial.set_user_attr(name, process)
    return trial.number, trial.suggest_float("lr", 0, 1)


def end_job(storage, number, error):
    search = {"storage": storage.url, "study": NAME, "trial": number}
    ended = JobReturn(status=JobStatus.FAILED, _return_value=error)
    TrialCallback().on_job_end(OmegaConf.create({"search": search}), ended)


def silent_for(storage, seconds):
    """Move all signs of life into the past, as the storage has them, or into the future."""
    past = datetime.timedelta(seconds=seconds)
    with storage.engine.begin() as connection:
        found = connection.execute(text("SELECT trial_id, heartbeat FROM trial_heartbeats"))
        for trial_id, last in found.all():
            at = datetime.datetime.fromisoformat(str(last)) - past
            update = "UPDATE trial_heartbeats SET heartbeat = :at WHERE trial_id = :id"
            connection.execute(text(update), {"at": at.isoformat(sep=" "), "id": trial_id})


def states(study):
    return [trial.state.name for trial in study.trials]


def test_a_killed_trial_is_queued_once_more_and_not_twice(study, storage, capsys):
    first = claim(study, storage, ENDED, launcher=ENDED)
    recover(study, storage)
    lost = "search main/sst2/lora: trial {} was lost (its process has ended); {}\n"
    again = "it is queued once more, with the same values"
    assert capsys.readouterr().out == lost.format(0, again)
    assert states(study) == ["FAIL", "WAITING"]
    assert not {"launcher", "worker"} & set(study.trials[1].user_attrs), "it belongs to nobody yet"
    assert claim(study, storage, ENDED) == (1, first[1])
    recover(study, storage)
    before = "so was trial 0 with the same values, and a new trial takes its place"
    assert capsys.readouterr().out == lost.format(1, before)
    assert states(study) == ["FAIL", "FAIL"]
    recover(study, storage)
    assert capsys.readouterr().out == ""


def test_a_trial_that_was_asked_to_stop_keeps_its_values_as_often_as_that(study, storage, capsys):
    _, value = claim(study, storage, ENDED)
    for number in range(3):
        end_job(storage, number, KeyboardInterrupt())
        recover(study, storage)
        said = f"search {NAME}: trial {number} was interrupted; it goes on, with the same values\n"
        assert capsys.readouterr().out == said
        assert claim(study, storage, ENDED) == (number + 1, value)
    check_failures(NAME, study.trials, num_trials=1, max_failure_rate=1)  # none was killed
    recover(study, storage)  # killed for the first time
    assert "queued once more" in capsys.readouterr().out.splitlines()[-1]
    assert claim(study, storage, ENDED) == (4, value)
    recover(study, storage)
    assert "so was trial 0 with the same values" in capsys.readouterr().out
    assert states(study) == ["FAIL"] * 5


def test_what_failed_by_itself_ends_and_a_claim_not_finished_is_given_up(study, storage, capsys):
    claim(study, storage, ENDED)
    storage.set_trial_user_attr(study.trials[0]._trial_id, "error", "the loss is nan")
    recover(study, storage)
    assert states(study) == ["FAIL"] and capsys.readouterr().out == ""
    claim(study, storage, None)
    recover(study, storage)
    assert "trial 1 was lost (its process ended while it took it up)" in capsys.readouterr().out
    assert states(study) == ["FAIL", "FAIL", "WAITING"]


@pytest.mark.parametrize("other", [None, ENDED, "elsewhere:7:7"])
@pytest.mark.parametrize("job_lives", [True, False])
def test_while_its_job_or_launcher_lives_it_is_left_alone(study, storage, capsys, other, job_lives):
    """The launcher of a job that was killed sees that itself, unless a scheduler has it again."""
    claim(study, storage, *((worker(), other) if job_lives else (other, worker())))
    silent_for(storage, 200)
    recover(study, storage)
    assert capsys.readouterr().out == "" and states(study) == ["RUNNING"]


def test_a_machine_that_is_silent_is_given_up_and_one_that_lives_is_not(study, storage, capsys):
    claim(study, storage, "elsewhere:7:7", launcher=ENDED)
    silent_for(storage, 100)
    recover(study, storage)
    assert states(study) == ["RUNNING"]
    silent_for(storage, 100)
    recover(study, storage)
    assert "(no heartbeat from elsewhere for more than 120 s)" in capsys.readouterr().out
    assert states(study) == ["FAIL", "WAITING"]


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_set_takes_no_trial_from_a_process_of_this_machine(study, storage, seconds):
    claim(study, storage, worker())
    claim(study, storage, ENDED)
    silent_for(storage, seconds)
    recover(study, storage)
    assert states(study) == ["RUNNING", "FAIL", "WAITING"]


def test_workers_in_different_time_zones_agree_on_the_time(postgres, monkeypatch):
    """The server's clock is the only one, and no session has an hour of its own."""
    monkeypatch.setenv("PGTZ", "America/New_York")
    west = open_storage(postgres)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    east = open_storage(postgres)
    study = optuna.create_study(study_name=NAME, storage=west)
    for storage, host in ((west, "west"), (east, "east")):
        number, _ = claim(study, storage, f"{host}:7:7")
        storage.record_heartbeat(study.trials[number]._trial_id)
    for storage in (west, east):
        recover(study, storage)
        assert states(study) == ["RUNNING", "RUNNING"]
    silent_for(west, 130)
    recover(study, east)
    assert states(study) == ["FAIL", "FAIL", "WAITING", "WAITING"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UserError("the loss is nan"), "FAIL"),
        (StorageUnusable("cannot be opened"), "RUNNING"),
        (OperationalError("INSERT", {}, Exception("database is locked")), "RUNNING"),
        (optuna.exceptions.StorageInternalError(), "RUNNING"),
    ],
)
def test_what_comes_from_outside_is_no_failure_of_the_trial(study, storage, error, state):
    claim(study, storage, worker())
    raised_by_the_front_door = JobFailed(str(error))
    raised_by_the_front_door.__context__ = error
    end_job(storage, 0, raised_by_the_front_door)
    [trial] = study.trials
    assert trial.state.name == state
    assert ("error" in trial.user_attrs) == (state == "FAIL")


def test_a_report_to_a_locked_storage_is_its_fault(study, storage, monkeypatch, tmp_path):
    claim(study, storage, worker())
    monkeypatch.setattr(module, "BUSY_S", 0.1)
    search = SearchConfig(storage=str(storage.url), study=NAME, trial=0)
    reporter = Reporter(search, Path("cell"), total_steps=9)
    assert not reporter.ends(1, 0.5)
    message = r"storage=.*trials\.db: database is locked"
    with sqlite3.connect(tmp_path / "trials.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnusable, match=message):
            reporter.ends(2, 0.5)


def test_a_process_that_nobody_has_asked_how_it_ended_is_gone():
    code = "from loradrift.sweeping.recovery import worker; print(worker(), flush=True); input()"
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    named = process.stdout.readline().strip()
    assert not is_gone(named)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert is_gone(named)
    process.communicate()
    assert is_gone(named)


def test_more_failures_than_may_be_end_a_search():
    for failed, killed, num_trials, rate, message in (
        # the first failures are no share of what has run so far
        (1, 0, 10, 0.8, None), (8, 0, 10, 0.8, None), (0, 4, 2, 1, None),
        (9, 0, 10, 0.8, "9 trials failed, more than .*max_failure_rate=0.8 of 10; the last: nan"),
        (1, 0, 10, 0, "1 trials failed"), (0, 5, 2, 1, "5 trials were killed, .* enough memory"),
    ):  # fmt: skip
        of_itself = create_trial(state=TrialState.FAIL, user_attrs={"error": "nan"})
        trials = [create_trial(state=TrialState.COMPLETE, value=0.5)]
        trials += [of_itself] * failed + [create_trial(state=TrialState.FAIL)] * killed
        with pytest.raises(UserError, match=f"s: {message}") if message else nullcontext():
            check_failures("s", trials, num_trials, rate)
