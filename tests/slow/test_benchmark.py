"""benchmark.py on the real vLLM: every arm and server, every answer, and processes that die."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, SMALL

from loradrift.serving.memory import tree
from loradrift.serving.samples import ColdStart, ReferenceAnswer, Sample, read_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]
FEW = (
    "serving.adapters=1,2,3", "serving.batch_sizes=1,3", "serving.max_tokens=12",
    "serving.rounds=2", "serving.prompt_length=16", "serving.kv_cache_mb=16", "serving.full=true",
    "serving.server.concurrency=1,2", "serving.server.rates=4.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def typed(tmp_path_factory, load, cache) -> tuple[str, ...]:
    """The places and sizes of a small cell with LoRA runs of sst2 and mrpc."""
    from loradrift.runs import open_run
    from loradrift.training import run

    folder = tmp_path_factory.mktemp("served")
    for task in ("sst2", "mrpc"):
        own = (*SMALL, f"task={task}", "method=lora", "method.optim.lr=0.01", "seed=1")
        config = load(*own, f"cache={cache}", f"runs={folder}/runs")
        config.variant, config.earlier_variant = "", None
        with open_run(config) as cell:
            run(config, cell)
    model = [each for each in SMALL if each.startswith("model.")]
    return (*model, f"runs={folder}/runs", f"cache={cache}", f"results={folder}/results")


def start(*typed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "benchmark.py", *typed]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


def folder_of(typed) -> Path:
    [runs] = [each.removeprefix("runs=") for each in typed if each.startswith("runs=")]
    return Path(runs)


def cell_of(typed) -> Path:
    [path] = folder_of(typed).glob("serving/vllm/*/plan.json")
    return path.parent


def wait_for(process, typed, pattern: str) -> None:
    deadline = time.monotonic() + 900
    while not list(folder_of(typed).glob(f"serving/vllm/*/{pattern}")):
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        assert time.monotonic() < deadline
        time.sleep(0.02)


def below(pid: int) -> list[int]:
    return [each for each in tree(pid) if each != pid]


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while left := [pid for pid in pids if running(pid)]:
        if time.monotonic() > deadline:
            return not left
        time.sleep(0.05)
    return True


def running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def record(typed) -> dict:
    return json.loads((cell_of(typed) / "run.json").read_text())


def test_killed_twice_and_then_to_the_end_with_every_answer_right(typed):
    # kill -9 of the parent while a server is up: nothing is left, nothing is lost
    process = start(*FEW, *typed)
    wait_for(process, typed, "server/closed_loop-1-round=000.parquet")
    started = below(process.pid)
    assert len(started) >= 5  # supervisors, worker, server, its engine
    process.kill()
    process.communicate()
    assert gone(started)
    assert record(typed)["status"] == "running"
    kept = {path: path.stat().st_mtime_ns for path in cell_of(typed).glob("server/*.parquet")}
    memory = (cell_of(typed) / "memory.json").stat().st_mtime_ns
    # kill -9 of the engines' process in mid-round: one line, what was measured is kept
    process = start(*FEW, *typed)
    wait_for(process, typed, "rounds/round=000.parquet")
    [worker] = [pid for pid in below(process.pid) if b"serving.worker\0" in command_of(pid)][-1:]
    os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate()
    [line] = stderr.splitlines()
    assert process.returncode == 1 and "killed (SIGKILL)" in line
    assert "what was measured is kept: 1 of 2 rounds and 6 loads of the server; " in line
    assert line.endswith("; the same command goes on")
    assert record(typed)["status"] == "failed"
    # the same command goes on to the end
    process = start(*FEW, *typed)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "going on after 1 rounds" in stdout and " 0 were wrong " in stdout
    after = {path: path.stat().st_mtime_ns for path in cell_of(typed).glob("server/*.parquet")}
    assert after.items() >= kept.items()
    assert (cell_of(typed) / "memory.json").stat().st_mtime_ns == memory
    assert record(typed)["status"] == "success" and record(typed)["resumed"] == 2
    assert "vllm" in record(typed)["versions"]
    check_files(cell_of(typed))


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def check_files(cell: Path) -> None:
    """All arms, all answers, and what is written beside them."""
    arms = {
        "baseline", "merged_sst2", "merged_mrpc", "merged_drawn_1", "single_adapter",
        "multi_2_adapters", "multi_3_adapters", "lora_enabled_base", "multi_2_adapters_rank_64",
        "multi_3_adapters_2_slots", "multi_3_adapters_2_in_memory", "n_merged_engines",
    }  # fmt: skip
    for path in sorted(cell.glob("rounds/*.parquet")):
        samples = read_rows(path, Sample)
        assert {(s.arm, s.load) for s in samples} == {(arm, n) for arm in arms for n in (1.0, 3.0)}
        assert {s.answer for s in samples} <= {"equal", "tie"}
    served = {"lora_enabled_base", "single_adapter", "multi_2_adapters", "multi_3_adapters"}
    loads = {path.name: read_rows(path, Sample) for path in cell.glob("server/*.parquet")}
    assert loads.keys() == {
        f"{name}-round={round:03d}.parquet"
        for name in ("closed_loop-1", "closed_loop-2", "open_loop-4")
        for round in range(2)
    }
    for samples in loads.values():
        assert {s.arm for s in samples} == served | {"merged_sst2"}
        assert {s.answer for s in samples} <= {"equal", "tie"}
    checks = json.loads((cell / "checks.json").read_text())
    assert checks["wrong"] == checks["wrong_adapter"] == 0
    assert checks["answers"] == checks["equal"] + checks["ties"]
    first = read_rows(cell / "cold_samples.parquet", Sample)
    assert checks["answers"] == 2 * len(arms) * 4 + sum(map(len, loads.values())) + len(first)
    references = read_rows(cell / "reference.parquet", ReferenceAnswer)
    assert len(references) == 4 * 32 and max(row.largest_gap for row in references) <= 1e-3
    cold = read_rows(cell / "cold.parquet", ColdStart)
    assert len(cold) == 2 * 3 * 3 * 2
    assert all(
        row.load_s > 0 for row in cold if row.arm == "lora_enabled_base" and row.state == "cold"
    )
    memory = json.loads((cell / "memory.json").read_text())
    assert memory.keys() == arms and all(0.2 < each["memory_gb"] < 3 for each in memory.values())
    events = json.loads((cell / "events.json").read_text())
    assert events.keys() == (arms - {"n_merged_engines"}) | {"server", "merged_server"}
    assert events["server"]["load_s"].keys() == {"sst2", "mrpc", "drawn_1"}
    assert events["server"]["memory_gb"] > 0.5
    found = json.loads((cell / "classification.json").read_text())
    assert found["problem"] is None and found["tasks"].keys() == {"sst2", "mrpc"}
    assert all(each["rows"] == 40 for each in found["tasks"].values())


def test_an_adapter_s_folder_that_vanishes_and_memory_that_runs_out_are_one_line(typed, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(folder_of(typed) / "main", runs / "main")
    own = [each for each in typed if not each.startswith("runs=")]
    few = (*FEW[:6], f"runs={runs}", "serving.server.enabled=false", "serving.memory=false")
    process = start(*few, *own)
    wait_for(process, (f"runs={runs}",), "rounds/round=000.parquet")
    plan = json.loads((cell_of([f"runs={runs}"]) / "plan.json").read_text())
    gone_folder = next(each for each in plan["adapters"] if each["name"] == "mrpc")["adapter"]
    shutil.move(gone_folder, tmp_path / "away")
    _, stderr = process.communicate()
    shutil.move(tmp_path / "away", gone_folder)
    [line] = stderr.splitlines()
    assert process.returncode == 1 and "mrpc" in line and gone_folder in line
    assert "what was measured is kept: " in line
    process = start(*few, *own, "serving.kv_cache_mb=100000000")
    _, stderr = process.communicate()
    [line] = stderr.splitlines()
    assert process.returncode == 1 and line.startswith("error: out of memory: ")
    states = [json.loads(path.read_text())["status"] for path in runs.glob("serving/*/*/run.json")]
    assert sorted(states) == ["failed", "out_of_memory"]
