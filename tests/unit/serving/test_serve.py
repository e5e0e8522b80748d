"""The server's part: when it is done, when it starts, and what is noted of it."""

import json
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from simulated import make_plan, make_prompts

from loradrift.config import UserError
from loradrift.serving import serve
from loradrift.serving.loads import load_path
from loradrift.serving.messages import Inbox, Messages
from loradrift.serving.plan import ServerPlan
from loradrift.serving.samples import Sample, write_rows

SAMPLE = Sample("closed_loop", "a", 1.0, 0, 0, 0, None, None, 0.0, 0.1, 0.2, 1, [0.1], [0], 0.2)


class Server:
    """Loads and unloads, or cannot."""

    pid, start_s, load_s = 1, 7.0, {"sst2": 0.5}

    def __init__(self, broken=False):
        self.broken = broken
        self.settings = SimpleNamespace(adapters={"sst2": "folder"})

    def unload_adapter(self, name):
        pass

    def load_adapter(self, name, folder):
        if self.broken:
            raise UserError("adapter sst2: the server says no")


@pytest.fixture
def measured(monkeypatch):
    """Rounds that were measured."""
    done = []

    class Loads:
        def __init__(self, plan, server, prompts, folder, *rest):
            self.folder = folder

        def closed_loops(self, round):
            done.append(round)
            for clients in (1, 4):
                write_rows(load_path(self.folder, "closed_loop", clients, round), Sample, [SAMPLE])

    monkeypatch.setattr(serve, "Loads", Loads)
    monkeypatch.setattr(serve, "tree_bytes", lambda pid: 2_000_000_000)
    return done


def part(folder, **own) -> serve.ServerPart:
    (folder / "server").mkdir(exist_ok=True)
    plan, server = make_plan(rounds=3, **own), ServerPlan((1, 4), 2, (), None, 300.0)
    return serve.ServerPart(folder, plan, server, make_prompts(), Messages(folder))


def test_it_is_done_when_what_the_server_took_is_noted_too(measured, tmp_path):
    own = part(tmp_path)
    with pytest.raises(UserError, match="the server says no"):
        own.measure({"server": Server(broken=True)}, None, None)
    assert measured == [0, 1, 2]
    assert own.samples() is None  # a second call must not take it for done
    (tmp_path / "events.json").write_text('{"baseline": {"start_s": 1.0}}')
    assert own.samples() is None
    own.measure({"server": Server()}, None, None)
    assert measured == [0, 1, 2]  # nothing is measured twice
    assert len(own.samples()) == 6
    events = json.loads((tmp_path / "events.json").read_text())
    assert events["baseline"] == {"start_s": 1.0}
    # it has started beside other work: how long that took says nothing
    assert events["server"] == {"start_s": None, "load_s": {"sst2": 0.5}, "memory_gb": 2.0}


def test_rounds_that_are_left_are_measured_and_counted(measured, tmp_path):
    own = part(tmp_path)
    own.measure({"server": Server()}, None, None)
    load_path(tmp_path, "closed_loop", 4, 1).unlink()
    measured.clear()
    own.measure({"server": Server()}, None, None)
    assert measured == [1]


@pytest.mark.parametrize("full", [False, True])
def test_a_start_is_timed_alone_or_not_at_all(monkeypatch, tmp_path, full):
    events = []
    monkeypatch.setattr(serve.ServerPart, "start", lambda self, stack: events.append("starts"))

    @contextmanager
    def beside(start, failed):
        start(None)
        yield lambda: None

    monkeypatch.setattr(serve, "in_background", beside)
    with part(tmp_path, full=full).started() as started:
        events.append("other work")
        started()
    assert events == (["other work", "starts"] if full else ["starts", "other work"])


def test_a_server_that_does_not_come_up_is_told_while_other_work_goes_on(monkeypatch, tmp_path):
    def start(self, stack):
        raise UserError("the server did not come up: it ended with exit code 1")

    monkeypatch.setattr(serve.ServerPart, "start", start)
    inbox = Inbox(tmp_path)
    with part(tmp_path).started() as started:
        deadline = time.monotonic() + 10
        while not (told := inbox.new()) and time.monotonic() < deadline:
            time.sleep(0.01)
        # minutes of other work may come before this
        with pytest.raises(UserError, match="did not come up"):
            started()
    [message] = told
    assert (message["failed"], message["kind"]) == (
        "the server did not come up: it ended with exit code 1", "user",
    )  # fmt: skip
