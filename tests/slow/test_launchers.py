"""Multiruns in other processes whose jobs are killed, pre-empted or wrong."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from front_doors import ROOT, output_of
from leavings import assert_same, cells, only

LONG = (
    "task.max_steps=200", "trainer.checkpoint_every=10", "trainer.validate_every=50",
    "callbacks.activation_dump.every_n_steps=100", "method.dropout=0.1",
)  # fmt: skip
FILES = ("metrics.csv", "predictions.jsonl", "activations/step=000200.safetensors")

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(train, tmp_path) -> Path:
    """A run that nothing disturbed."""
    output_of(train(*LONG, "seed=1", runs=tmp_path / "whole"))
    return only(tmp_path / "whole")[0]


def job_of(runs: Path, process: subprocess.Popen, seed: int) -> int:
    """The process that works on a cell, once it has saved."""
    while True:
        assert process.poll() is None, process.communicate()
        for folder in (path.parent for path in runs.rglob("run.json")):
            if folder.name == f"seed={seed}" and list(folder.rglob("last.ckpt")):
                return int((folder / ".owner").read_text().split()[1])
        time.sleep(0.02)


def start(command: list[str], **env: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, env=os.environ | env, **pipes)


def by_seed(runs: Path) -> dict[str, tuple[Path, dict]]:
    return {Path(name).name: (runs / name, record) for name, record in cells(runs).items()}


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_killed_job_takes_no_other_with_it(command, train, whole, tmp_path, launcher):
    runs = tmp_path / "runs"
    typed = (*LONG, "-m", "seed=1,2,3", f"hydra/launcher={launcher}")
    if launcher == "joblib":
        typed += ("hydra.launcher.n_jobs=2",)
    process = start(command(*typed))
    os.kill(job_of(runs, process, 1), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert re.search(r"error: its process was killed .*/seed=1\)", stderr)
    assert "Traceback" not in stderr
    assert stdout.count("failed: its process was killed") == 1
    assert "1 of 3 jobs failed" in stdout
    records = by_seed(runs)
    statuses = {seed: record["status"] for seed, (_, record) in records.items()}
    assert statuses == {"seed=1": "failed", "seed=2": "success", "seed=3": "success"}
    assert records["seed=1"][1]["error"].startswith("its process was killed")
    output_of(train(*typed))
    folder, record = by_seed(runs)["seed=1"]
    assert record["resumed"] == 1
    assert_same(whole, folder, *FILES)


def test_a_pre_empted_job_is_requeued_and_ends_as_if_nothing_had_happened(command, whole, tmp_path):
    runs = tmp_path / "runs"
    process = start(command(*LONG, "-m", "seed=1", "hydra/launcher=submitit_local"))
    pid = job_of(runs, process, 1)
    os.kill(pid, signal.SIGTERM)  # only announces
    os.kill(pid, signal.SIGUSR2)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert "Finished runs" in stdout
    [(folder, record)] = by_seed(runs).values()
    assert (record["status"], record["resumed"]) == ("success", 1)
    [log] = runs.rglob("*_0_log.out")
    assert log.read_text().count("resuming") == 1
    assert_same(whole, folder, *FILES)


def test_a_job_whose_time_is_up_too_often_has_failed(command, tmp_path):
    limits = ("hydra.launcher.max_num_timeout=0", "hydra.launcher.timeout_min=5")
    process = start(command(*LONG, "-m", "seed=1", "hydra/launcher=submitit_local", *limits))
    os.kill(job_of(tmp_path / "runs", process, 1), signal.SIGUSR2)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "timed-out too many times" in stdout and "Traceback" not in stderr
    assert "1 of 1 jobs failed" in stdout
    [(_, record)] = by_seed(tmp_path / "runs").values()
    assert record["status"] == "interrupted"
    assert record["error"] == "KeyboardInterrupt: pre-empted by the scheduler"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_joblib_passes_on_a_request_to_stop(command, tmp_path, number):
    typed = (*LONG, "-m", "seed=1,2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = start(command(*typed))
    for seed in (1, 2):
        job_of(tmp_path / "runs", process, seed)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 130, stderr
    assert stdout.count("interrupted main/sst2/lora,") == 2
    statuses = {seed: record["status"] for seed, (_, record) in by_seed(tmp_path / "runs").items()}
    assert statuses == {"seed=1": "interrupted", "seed=2": "interrupted"}


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_wrong_job_fails_alone(train, launcher):
    ran = train("-m", "seed=1", "method.rank=2,400", f"hydra/launcher={launcher}")
    assert ran.returncode == 1
    assert "Finished runs" in ran.stdout
    assert "method.rank must be at most 32" in ran.stdout
    assert "1 of 2 jobs failed" in ran.stdout
    assert "Traceback" not in ran.stderr


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """The environment of a machine with a SLURM that runs its jobs there."""
    programs, state = tmp_path / "bin", tmp_path / "slurm"
    programs.mkdir()
    state.mkdir()
    script = Path(__file__).with_name("fake_slurm.py")
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {script} {name} "$@"\n')
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "FAKE_SLURM": str(state)}


def test_slurm_jobs_are_requeued_and_a_killed_one_is_named(command, whole, tmp_path, slurm):
    runs = tmp_path / "runs"
    asked = ("hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=90")
    typed = (*LONG, "-m", "seed=1,2", "hydra/launcher=submitit_slurm", *asked)
    process = start(command(*typed), **slurm)
    os.kill(job_of(runs, process, 1), signal.SIGUSR2)
    os.kill(job_of(runs, process, 2), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=900)
    assert process.returncode == 1, stderr
    assert re.search(r"error: its process was killed .*/seed=2\)", stderr)
    assert "Traceback" not in stderr
    assert "1 of 2 jobs failed" in stdout
    records = by_seed(runs)
    folder, record = records["seed=1"]
    assert (record["status"], record["resumed"]) == ("success", 1)
    assert records["seed=2"][1]["status"] == "failed"
    script = (tmp_path / "slurm" / "script.sh").read_text()
    for line in ("--partition=gpu", "--time=90", "--signal=USR2@120", "--array=0-1%2"):
        assert f"#SBATCH {line}" in script
    assert_same(whole, folder, *FILES)
