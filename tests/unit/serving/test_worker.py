"""The worker's messages, its mistakes, and the memory of processes."""

import subprocess
import sys

import pytest

from loradrift.config import UserError
from loradrift.generation.errors import AdapterVanished, EngineEnded
from loradrift.serving import measure, worker
from loradrift.serving.memory import measure_memory, tree, tree_bytes
from loradrift.serving.messages import Inbox, Messages, Progress


def test_messages_come_once_and_whole(tmp_path):
    (tmp_path / "messages.jsonl").write_text('{"say": "of an earlier worker"}\n')
    inbox, messages = Inbox(tmp_path), Messages(tmp_path)
    assert inbox.new() == []
    messages.send(say="one")
    with messages.spoken():
        print("two\nthree")
    assert [message["say"] for message in inbox.new()] == ["one", "two", "three"]
    with (tmp_path / "messages.jsonl").open("a") as file:
        file.write('{"say": "fo')
        file.flush()
        assert inbox.new() == []
        file.write('ur"}\n')
    assert [message["say"] for message in inbox.new()] == ["four"] and inbox.new() == []


def test_progress_is_sent(tmp_path):
    messages = Messages(tmp_path)
    progress = Progress(messages, "measurements", 20)
    progress._said -= 5  # it says nothing in the first second
    progress.reach(4)
    [message] = Inbox.new(_inbox(tmp_path))
    assert message["say"].startswith("measurements 4 of 20, about ")


def _inbox(folder) -> Inbox:
    """One that does not delete what is there."""
    inbox = Inbox.__new__(Inbox)
    inbox.path, inbox._read = folder / "messages.jsonl", 0
    return inbox


@pytest.mark.parametrize(
    "ending",
    [
        (UserError("adapter sst2: gone"), "user", "adapter sst2: gone"),
        (EngineEnded("it was ended by signal 9"), "ended", "it was ended by signal 9"),
        (AdapterVanished("adapter sst2: gone"), "vanished", "adapter sst2: gone"),
        (MemoryError("vLLM failed: no room"), "memory", "out of memory: vLLM failed: no room"),
        (KeyError("x"), "fault", "KeyError: 'x'"),
    ],
)
def test_what_ends_a_worker_is_its_last_message(tmp_path, monkeypatch, capsys, ending):
    error, kind, line = ending

    def fail(folder, messages):
        raise error

    monkeypatch.setattr(measure, "measure", fail)
    assert worker.main(tmp_path) == 1
    [message] = _inbox(tmp_path).new()
    assert (message["failed"], message["kind"]) == (line, kind)
    printed = capsys.readouterr().err
    assert (type(error).__name__ in printed) == (kind in ("memory", "fault"))


def test_memory_counts_what_processes_share_once():
    code = "import sys; x = b'x' * 200_000_000; print(1, flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        child.stdout.readline()
        assert 200e6 < tree_bytes(child.pid) < 300e6
        child.communicate(b"")
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {code!r}], stdin=0)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as parent:
        parent.stdout.readline()
        assert len(list(tree(parent.pid))) == 2
        assert 200e6 < tree_bytes(parent.pid) < 300e6
        parent.communicate(b"")


def test_an_arm_whose_memory_cannot_be_measured_is_named(monkeypatch, tmp_path):
    from simulated import make_plan, make_prompts

    plan = make_plan(opener="simulated:absent", engine="hf")
    monkeypatch.setattr("loradrift.serving.memory.preload", lambda plan: None)
    with pytest.raises(UserError, match="memory of baseline: .*simulated"):
        measure_memory(plan, make_prompts())
