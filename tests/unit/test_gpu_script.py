"""``benchmarks/gpu.py``, as far as no GPU is needed: limits, what is typed, what is kept."""

import importlib.util
import json
import os
import re
import sys
import tarfile
import time
from importlib import metadata
from pathlib import Path

import pytest
from front_doors import ROOT
from hydra import compose, initialize_config_dir

import loradrift.serving  # noqa: F401  registers benchmark=…
from loradrift.cli.entry_point import quote_values
from loradrift.config import load_benchmark
from loradrift.serving.door import refuse_idle_keys

FACTS = {"gpu": None, "versions": {}}


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu_script", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(script, name: str, code: str, limit_s: float = 60.0):
    return script.Step(name, [sys.executable, "-c", code], limit_s)


def test_all_limits_together_are_within_twelve_minutes(script):
    assert sum(limit + script.GRACE_S for limit in script.LIMITS.values()) <= 12 * 60


def test_a_step_at_its_limit_ends_with_all_its_processes_and_the_others_are_taken(
    script, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(script, "GRACE_S", 1.0)
    child = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
    child += "'import time; time.sleep(600)']); print('child', p.pid, flush=True); p.wait()"
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    todo = [
        python(script, "slow", child, limit_s=2.0),
        python(script, "bad", "print('said'); raise SystemExit(3)"),
        python(script, "good", "print('fine')"),
    ]
    assert script.take(todo, work, out, FACTS, os.environ) == 1
    said = capsys.readouterr().out
    [pid] = re.findall(r"^child (\d+)$", said, re.MULTILINE)
    deadline = time.monotonic() + 20
    while running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(int(pid))
    assert "slow: ended at its limit of 2 s" in said and "failed: slow, bad;" in said
    steps = json.loads((out / "summary.json").read_text())["steps"]
    assert [(each["step"], each["exit_code"]) for each in steps] == [
        ("slow", None), ("bad", 3), ("good", 0),
    ]  # fmt: skip
    log = (out / "steps.log").read_text()
    assert log.index("child") < log.index("said\n") < log.index("fine\n")


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_steps_that_succeed_are_exit_code_0_and_their_results_are_kept(script, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    code = f"""
from pathlib import Path
cell, results = Path({str(work)!r}, "runs/serving/hf/local,a=1"), Path({str(work)!r}, "results")
cell.mkdir(parents=True)
(cell / "run.json").write_text("{{}}")
(cell / "checks.json").write_text('{{"wrong": 0}}')
(results / "deployment").mkdir(parents=True)
(results / "deployment/deployment_benchmark.json").write_text("{{}}")
(results / "deployment/report.html").write_text("page")
"""
    assert script.take([python(script, "one", code)], work, out, FACTS, os.environ) == 0
    assert {path.name for path in out.iterdir()} == {*script.KEPT}
    assert json.loads((out / "summary.json").read_text())["answers"] == {"wrong": 0}
    with tarfile.open(out / "cell.tar.gz") as archive:
        assert "local,a=1/run.json" in archive.getnames()


@pytest.mark.parametrize("engine", ["vllm", "hf"])
@pytest.mark.parametrize("trainer", ["gpu", "cpu"])
def test_the_cell_that_is_typed_is_one_that_the_front_door_takes(
    script, load, tmp_path, engine, trainer
):
    words = script.typed(tmp_path, engine, trainer)
    quote_values(words)
    with initialize_config_dir(str(ROOT / "conf")):
        config = load_benchmark(compose("benchmark", words), words)
    refuse_idle_keys(config, words)
    assert (config.engine, config.trainer.accelerator) == (engine, trainer)
    serving = config.serving
    # kernels on a GPU have no fp32, and a fork after CUDA has begun cannot measure memory
    assert serving.dtype == "bfloat16" and serving.source == "drawn" and not serving.memory
    # what H3 is decided by
    assert 8 in serving.batch_sizes and 2 in serving.adapters and serving.rounds >= 5


def test_the_tests_are_those_marked_gpu(script, tmp_path):
    command = next(each for each in script.steps(tmp_path, "hf", True) if each.name == "tests")
    assert command.command[command.command.index("tests/gpu") + 1 :][:2] == ["-m", "gpu"]
    assert "pytest.mark.gpu" in (ROOT / "tests/gpu/test_gpu.py").read_text()


def test_what_is_not_installed_as_asked_is_named(script):
    project = '[project]\ndependencies = ["torch>=1", "torch<1", "no-such-thing>=2"]'
    assert script.unmet(project) == [
        f"torch<1: {metadata.version('torch')}", "no-such-thing>=2: absent",
    ]  # fmt: skip


def test_without_a_gpu_it_says_so_and_does_nothing(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "machine", lambda: FACTS)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert script.main() == 1
    assert "error: this machine has no GPU that torch sees" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
