"""Reading the cells of benchmark.py, and watching its processes."""

import json
import time
from pathlib import Path

from fork_server import ForkedProcess

from loradrift.serving.memory import tree
from loradrift.serving.samples import Sample, read_rows


def cell_of(runs: Path) -> Path:
    [path] = runs.glob("serving/*/*/run.json")
    return path.parent


def record_of(runs: Path) -> dict:
    return json.loads((cell_of(runs) / "run.json").read_text())


def rounds(runs: Path) -> list[Path]:
    return sorted(runs.glob("serving/*/*/rounds/round=*.parquet"))


def wait_until(there, process: ForkedProcess) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.005)


def worker_of(process: ForkedProcess) -> int:
    """The process that measures: the supervisor's child."""
    below = [pid for pid in tree(process.pid) if b"serving.worker" in command_of(pid)]
    return below[-1]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def check_samples(runs: Path) -> None:
    """Every arm, batch size and request, each answer checked and right."""
    folder, arms = cell_of(runs), {"baseline": 1, "merged_sst2": 1, "merged_mrpc": 1}
    arms |= {"single_adapter": 1, "multi_2_adapters": 2}
    for number, path in enumerate(rounds(runs)):
        samples = read_rows(path, Sample)
        calls = {(sample.arm, sample.load): set() for sample in samples}
        for sample in samples:
            calls[sample.arm, sample.load].add(sample.asked)
            assert sample.round == number and sample.answer in ("equal", "tie")
            assert sample.asked == sample.served and sample.tokens == 16
            assert 0 < sample.ttft_s < sample.latency_s <= sample.call_s
        assert calls.keys() == {(arm, size) for arm in arms for size in (1.0, 2.0)}
        assert calls["multi_2_adapters", 2.0] == {"sst2", "mrpc"}
        assert calls["baseline", 2.0] == {None} and calls["merged_mrpc", 2.0] == {"mrpc"}
    assert len(list(folder.glob("rounds/*"))) == 4
    prompts = json.loads((folder / "prompts.json").read_text())
    assert {prompt["task"] for prompt in prompts} == {"sst2", "mrpc"} and len(prompts) == 32
    assert max(len(prompt["token_ids"]) for prompt in prompts) == 16
