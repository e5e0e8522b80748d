"""A storage that cannot be used says why; trials are compared after equal shares of their runs."""

import socket
import sqlite3
import threading
from functools import cache
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import make_url

from loradrift.config import SearchConfig, UserError
from loradrift.sweeping import storage
from loradrift.sweeping.reporting import Reporter
from loradrift.sweeping.storage import StorageUnusable, claiming, engine_options, open_storage

NAME = "main/sst2/lora"


def test_a_storage_that_cannot_be_used_says_why():
    for url, message in (
        ("trials.db", "storage=trials.db… is no URL, such as sqlite:///trials.db"),
        *((f"postgresql+psycopg:{rest}", r"storage=postgresql\+psycopg… is no URL")
          for rest in ("//me:hunter2@x:port/y", "/me:hunter2@x/y", "///me:hunter2@x/y")),
        ("postgresql+psycopg://me:hunter2@x/y", r"me:\*\*\*@x/y holds a password"),
        *((f"postgresql+psycopg://x/y?{key}=hunter2", r"//x/y\?… holds a password")
          for key in ("password", "sslpassword", "PassWord")),
        ("mysql://x/y", "must be a file, sqlite:///…, or a server"),
        ("sqlite://", "must be a file, sqlite:///…, or a server"),
        ("postgresql+psycopg://me@127.0.0.1:1/x", "opened: .*(refused|failed)|needs a driver"),
        ("postgresql+none://me@127.0.0.1:1/x", r"pip install '.\[cluster\]'"),
        ("sqlite:////proc/none/trials.db", "cannot be opened: .*"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message) as caught:
            open_storage(url)
        assert "hunter2" not in str(caught.value)


def test_a_locked_storage_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BUSY_S", 0.1)
    path = tmp_path / "trials.db"
    open_storage(f"sqlite:///{path}")
    wanted = "opened: database is locked by another process, .* try"
    with sqlite3.connect(path) as other, pytest.raises(UserError, match=wanted):
        other.execute("BEGIN EXCLUSIVE")
        open_storage(f"sqlite:///{path}")


def test_a_server_that_does_not_answer_is_given_up_and_named(monkeypatch):
    pytest.importorskip("psycopg", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(storage, "CONNECT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        port = silent.getsockname()[1]
        url = f"postgresql+psycopg://me@127.0.0.1:{port}/x"
        wanted = rf"^hydra.sweeper.storage=.*://me@127.0.0.1:{port}/x cannot be opened: .*timeout "
        wanted += rf"expired; is the server up, may this machine reach 127.0.0.1:{port}, and is"
        with pytest.raises(StorageUnusable, match=wanted) as caught:
            open_storage(url)
    assert "\n" not in str(caught.value)


def test_a_connect_timeout_that_was_set_is_kept(monkeypatch):
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    url = make_url("postgresql+psycopg://me@x/y")
    assert engine_options(url)["connect_args"] == {"connect_timeout": storage.CONNECT_S}
    assert "connect_args" not in engine_options(url.update_query_dict({"connect_timeout": "40"}))
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "40")
    assert "connect_args" not in engine_options(url)


def test_a_worker_that_waits_for_another_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(storage, "BUSY_S", 0.1)
    url = f"sqlite:///{tmp_path}/trials.db"

    def claim_too():
        with claiming(url, NAME):
            pass

    claim_too()
    assert capsys.readouterr().out == ""
    other = threading.Thread(target=claim_too)
    with claiming(url, NAME):
        other.start()
        other.join(0.5)
    other.join()
    said = "still waiting for the storage's lock (main/sst2/lora), which another process holds\n"
    assert capsys.readouterr().out == said


@pytest.fixture
def report(tmp_path):
    """Run a trial with these validations, by optimizer step; gives what was kept, and its end."""
    url = f"sqlite:///{tmp_path}/trials.db"
    study = optuna.create_study(study_name=NAME, storage=open_storage(url), direction="maximize")

    def run(values, total_steps, pruner="median"):
        trial = study.ask()
        settings = {"trial": trial.number, "pruner": pruner, "full_trials": 1}
        search = SearchConfig(storage=url, study=NAME, **settings)
        for step, value in values.items():
            # a requeued job opens the trial anew
            if Reporter(search, Path("cell"), total_steps=total_steps).ends(step, value):
                return study.trials[-1].intermediate_values, step
        study.tell(trial, value)
        return study.trials[-1].intermediate_values, None

    return run


def test_a_value_lasts_until_the_next_validation(report):
    kept, ended = report({50: 0.5, 100: 0.6, 150: 0.7, 170: 0.8}, 170)
    assert ended is None
    parts = {5: 0.5, 11: 0.6, 17: 0.7, 20: 0.8}
    assert {part: kept[part] for part in parts} == parts
    assert list(kept) == list(range(5, 21))
    assert all(kept[part] == kept[part - 1] for part in range(6, 21) if part not in parts)


def test_small_batches_are_not_ended_for_having_seen_fewer_rows(report):
    large = {50: 0.6, 100: 0.8}
    report(large, 100)
    small = {step: 0.9 * step / 800 for step in range(50, 801, 50)}
    assert small[100] < large[50] and small[800] > large[100]
    _, ended = report(small, 800)  # compared at the same steps, it ended at the first
    assert ended == 400, "half of its own run: 0.45 < 0.6"
    better = {step: 0.9 * step / 800 + 0.2 for step in range(50, 801, 50)}
    assert better[50] < large[50]
    _, ended = report(better, 800)
    assert ended is None


@pytest.mark.parametrize("pruner", ["hyperband", "successive_halving"])
def test_every_trial_gets_a_quarter_of_its_run(report, pruner, monkeypatch):
    monkeypatch.setattr(storage, "open_storage", cache(open_storage))  # 200 times the same
    steps = range(10, 101, 10)
    report({step: 0.9 for step in steps}, 100, pruner)
    shares = []
    for number, total in enumerate((100, 400) * 6):  # each worse than those before, in any bracket
        _, ended = report({step * total // 100: -number for step in steps}, total, pruner)
        shares += [ended / total] if ended else []
    assert min(shares) == 0.3, "the first validation after a quarter of the run"
