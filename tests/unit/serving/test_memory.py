"""What memory means: of one process and of several, and of engines side by side."""

import os
import signal
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
from simulated import make_plan

from loradrift.config import UserError
from loradrift.serving import memory

KB = {"Rss": 1000, "Private_Clean": 100, "Private_Dirty": 300}
CHILD = {"Rss": 700, "Private_Clean": 10, "Private_Dirty": 20}


def test_shared_pages_count_once_and_one_process_as_many(monkeypatch):
    found = {1: KB}
    monkeypatch.setattr(memory, "_rollup", lambda pid: found[pid])
    monkeypatch.setattr(memory, "tree", lambda pid: iter(found))
    assert memory.tree_bytes(1) == 1000
    found[2] = CHILD
    assert memory.tree_bytes(1) == 1000 + 30
    found[3] = CHILD
    assert memory.tree_bytes(1) == 1000 + 30 + 30
    found[4] = {}  # it has ended meanwhile
    assert memory.tree_bytes(1) == 1060
    found[2] = KB | {"Rss": 2000}  # the largest may be a child
    assert memory.tree_bytes(1) == 2000 + 400 + 30


def test_it_is_read_of_this_machine():
    own = memory.tree_bytes(os.getpid())
    assert own > 2**20 and 0 < memory.file_bytes(os.getpid()) < own


def test_what_was_freed_does_not_count():
    before = memory.tree_bytes(os.getpid())
    blocks = [bytes([i % 256]) * 64 * 1024 for i in range(2000)]
    kept = blocks[::100]  # holes between these, which the C library would keep
    del blocks
    memory.return_freed()
    assert memory.tree_bytes(os.getpid()) - before < 40e6 and len(kept) == 20


def engine(memory_gb, files_gb=0.5, gpu=None):
    return {
        "memory_gb": memory_gb, "files_gb": files_gb, "kv_cache_gb": 0.1, "gpu_peak_gb": gpu
    }  # fmt: skip


def test_engines_side_by_side_are_processes_that_share_files_alone():
    found = memory.side_by_side([engine(2.0, 0.5), engine(2.5, 0.6)])
    assert found["memory_gb"] == pytest.approx(1.5 + 1.9 + 0.6)
    assert found["kv_cache_gb"] == pytest.approx(0.2) and found["gpu_peak_gb"] is None
    assert memory.side_by_side([engine(2.0, gpu=3.0)] * 2)["gpu_peak_gb"] == 6.0


def test_no_process_measures_all_engines(monkeypatch):
    plan, asked = make_plan(full=True), []
    monkeypatch.setattr(memory, "preload", lambda plan: None)
    monkeypatch.setattr(memory, "_start", lambda plan, prompts, arm: (None, None))
    monkeypatch.setattr(memory, "_result", lambda arm, *rest: asked.append(arm.name) or engine(1.0))
    found = memory.measure_memory(plan, [])
    assert asked == [arm.name for arm in plan.arms if arm.kind != "engines"]
    assert found.keys() == {arm.name for arm in plan.arms}
    assert found["n_merged_engines"]["memory_gb"] == pytest.approx(4 * 0.5 + 0.5)
    assert all(each.keys() == {*memory.FIGURES} for each in found.values())


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (-signal.SIGKILL, MemoryError, "exit code -9: out of memory, if nobody has killed it"),
        (1, UserError, r"exit code 1\); serving.memory=false leaves it out"),
    ],
)
def test_a_process_that_was_killed(code, error, message):
    ours, theirs = Pipe(duplex=False)
    theirs.close()
    process = SimpleNamespace(join=lambda: None, exitcode=code)
    with pytest.raises(error, match=message):
        memory._result(make_plan().arms[0], process, ours)
