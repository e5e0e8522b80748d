"""Killed with -9 at ten random moments, a run ends with the bits of an uninterrupted one."""

import random
import subprocess
import time

import pytest
from front_doors import ROOT, output_of
from leavings import assert_same, only


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
    output_of(train(*typed, runs=whole, timeout=900))
    draw = random.Random(method)
    for _ in range(10):
        kill_after_two_checkpoints(command(*typed, runs=killed), killed, draw)
    output_of(train(*typed, runs=killed, timeout=900))
    (one, _), (other, _) = only(whole), only(killed)
    dumps = [path.relative_to(one) for path in one.glob("activations/*.safetensors")]
    assert_same(one, other, "metrics.csv", "predictions.jsonl", *dumps)
