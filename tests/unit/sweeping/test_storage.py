"""A storage that cannot be used says why, in one line."""

import socket
import sqlite3
import threading

import pytest
from sqlalchemy.engine import make_url

from loradrift.config import UserError
from loradrift.sweeping import storage
from loradrift.sweeping.storage import StorageUnusable, claiming, engine_options, open_storage


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
        with claiming(url, "main/sst2/lora"):
            pass

    claim_too()
    assert capsys.readouterr().out == ""
    other = threading.Thread(target=claim_too)
    with claiming(url, "main/sst2/lora"):
        other.start()
        other.join(0.5)
    other.join()
    said = "still waiting for the storage's lock (main/sst2/lora), which another process holds\n"
    assert capsys.readouterr().out == said
