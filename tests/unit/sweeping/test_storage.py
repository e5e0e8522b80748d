"""A storage that cannot be used says why, in one line."""

import sqlite3

import pytest

from loradrift.config import UserError
from loradrift.sweeping import storage
from loradrift.sweeping.storage import open_storage


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("trials.db", "storage=trials.db… is no URL, such as sqlite:///trials.db"),
        ("postgresql+psycopg://me:hunter2@x:port/y", "storage=postgresql\\+psycopg:… is no URL"),
        ("postgresql+psycopg://x/y?password=hunter2", r"//x/y\?… holds a password"),
        ("mysql://x/y", "must be a file, sqlite:///…, or a server"),
        ("sqlite://", "must be a file, sqlite:///…, or a server"),
        (
            "postgresql+psycopg://me@127.0.0.1:1/x",
            "cannot be opened: .*(refused|failed)|needs a driver",
        ),
        ("postgresql+none://me@127.0.0.1:1/x", r"pip install 'loradrift\[cluster\]'"),
        ("sqlite:////proc/none/trials.db", "cannot be opened: .*"),
    ],
)
def test_a_storage_that_cannot_be_used_says_why(url, message):
    with pytest.raises(UserError, match=message):
        open_storage(url)


def test_a_locked_storage_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "BUSY_S", 0.1)
    path = tmp_path / "trials.db"
    open_storage(f"sqlite:///{path}")
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="cannot be opened: database is locked"):
            open_storage(f"sqlite:///{path}")
