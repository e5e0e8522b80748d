"""Killed with -9 at ten random moments, a run ends with the bits of an uninterrupted one."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]


def kill_after_two_checkpoints(command, runs, draw):
    """Start the run, let it save twice, and kill it a random moment later."""
    process = subprocess.Popen(command, cwd=ROOT)
    seen = saves = 0
    while saves < 3:  # the first one seen may be the one it starts from
        assert process.poll() is None, "the run ended before it could be killed"
        stamps = [path.stat().st_mtime_ns for path in runs.rglob("last.ckpt")]
        if stamps and stamps[0] != seen:
            seen, saves = stamps[0], saves + 1
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.5))
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "method"), [("mrpc", "lora"), ("mrpc", "full_finetune"), ("squad_v2", "lora")]
)
def test_ten_kills_change_nothing(train, command, tmp_path, task, method):
    typed = (
        f"task={task}",
        f"method={method}",
        "trainer.accumulate=2",
        "task.max_steps=1200",
        "trainer.checkpoint_every=20",
        "trainer.validate_every=45",
        "callbacks.activation_dump.every_n_steps=30",
        *(["method.dropout=0.1"] if method == "lora" else []),
        # steps are longer than mrpc's
        *(["task.max_steps=800", "task.num_best=3"] if task == "squad_v2" else []),
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(*typed, runs=whole, timeout=900).returncode == 0
    draw = random.Random(method)
    for _ in range(10):
        kill_after_two_checkpoints(command(*typed, runs=killed), killed, draw)
    assert train(*typed, runs=killed, timeout=900).returncode == 0
    [one], [other] = (list(runs.rglob("run.json")) for runs in (whole, killed))
    for file in ("metrics.csv", "predictions.jsonl"):
        assert (one.parent / file).read_bytes() == (other.parent / file).read_bytes()
    for shard in sorted((one.parent / "activations").glob("*.safetensors")):
        assert shard.read_bytes() == (other.parent / "activations" / shard.name).read_bytes()
    name = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
    weights = [load_file(run.parent / "model" / name) for run in (one, other)]
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0] | weights[1])
