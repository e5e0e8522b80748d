"""Trials whose process was killed: given up, queued once more, and said."""

import os
import socket
import subprocess
import sys

import optuna
import pytest

from loradrift.sweeping.storage import find_trial, is_gone, open_storage, recover, worker

NAME = "main/sst2/lora"
ENDED = f"{socket.gethostname()}:1:0"
"""A process of this machine that began at another time than the one with that number now."""


@pytest.fixture
def storage(tmp_path):
    return open_storage(f"sqlite:///{tmp_path}/trials.db")


@pytest.fixture
def study(storage):
    return optuna.create_study(study_name=NAME, storage=storage)


def claim(study, storage, by):
    """The next trial, running in the process ``by``; gives its number and its value."""
    trial = study.ask()
    storage.record_heartbeat(find_trial(storage, NAME, trial.number))
    if by:
        trial.set_user_attr("worker", by)
    return trial.number, trial.suggest_float("lr", 0, 1)


def states(study):
    return [trial.state.name for trial in study.trials]


def test_a_killed_trial_is_queued_once_more_and_not_twice(study, storage, capsys):
    first = claim(study, storage, ENDED)
    recover(study, storage)
    assert capsys.readouterr().out == (
        "search main/sst2/lora: trial 0 was lost (its process has ended); it is queued once more, "
        "with the same values\n"
    )
    assert states(study) == ["FAIL", "WAITING"]
    assert claim(study, storage, ENDED) == (1, first[1])
    recover(study, storage)
    assert capsys.readouterr().out == (
        "search main/sst2/lora: trial 1 was lost (its process has ended); so was trial 0 with the "
        "same values, and a new trial takes its place\n"
    )
    assert states(study) == ["FAIL", "FAIL"]
    recover(study, storage)
    assert capsys.readouterr().out == ""


def test_one_that_was_queued_again_belongs_to_nobody_until_it_is_claimed(study, storage, capsys):
    claim(study, storage, ENDED)
    recover(study, storage)
    assert "worker" not in study.trials[1].user_attrs


def test_a_claim_that_was_not_finished_is_given_up(study, storage, capsys):
    claim(study, storage, None)
    recover(study, storage)
    assert "trial 0 was lost (its process ended while it took it up)" in capsys.readouterr().out
    assert states(study) == ["FAIL", "WAITING"]


def test_a_trial_that_lives_is_left_alone(study, storage, capsys):
    claim(study, storage, worker())
    recover(study, storage)
    assert capsys.readouterr().out == "" and states(study) == ["RUNNING"]


def test_a_process_that_nobody_has_asked_how_it_ended_is_gone():
    code = "from loradrift.sweeping.storage import worker; print(worker(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    named = process.stdout.readline().strip()
    assert not is_gone(named)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert is_gone(named)
    process.communicate()
    assert is_gone(named)
