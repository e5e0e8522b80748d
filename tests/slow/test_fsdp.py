"""Sharded training ends where data parallel training ends."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from front_doors import ROOT, output_of
from leavings import assert_same, only, wait_for, weights

from loradrift.activations import ActivationStore

pytestmark = pytest.mark.slow

TYPED = ("trainer.devices=2", "task.batch_size=4")


def assert_equal_runs(one: Path, other: Path) -> None:
    """Weights, activations, predictions and figures are the same to rounding."""
    (folder, record), (other_folder, other_record) = only(one), only(other)
    first, second = weights(folder), weights(other_folder)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, second[name], rtol=1e-3, atol=1e-5, msg=name)
    stores = [ActivationStore(each / "activations") for each in (folder, other_folder)]
    assert stores[0].steps == stores[1].steps == [0, 4, 8, 12]
    for step in (0, 12):
        shards = [store.read(step) for store in stores]
        for name, rows in shards[0].items():
            torch.testing.assert_close(rows, shards[1][name], rtol=1e-3, atol=1e-4)
    for name, value in record["metrics"].items():
        assert value == pytest.approx(other_record["metrics"][name], abs=1e-4), name
    assert record["parameters"] == other_record["parameters"]
    scores = [
        [json.loads(line)["score"] for line in (each / "predictions.jsonl").open()]
        for each in (folder, other_folder)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.parametrize("method", ["lora", "full_finetune"])
def test_two_processes_end_as_with_ddp(compute, tmp_path, method):
    ddp, fsdp = tmp_path / "ddp", tmp_path / "fsdp"
    typed = (*TYPED, f"method={method}", "trainer.accumulate=2", "seed=6")
    compute("trainer=ddp", *typed, runs=ddp)
    _, record = compute("trainer=fsdp", *typed, runs=fsdp)
    assert_equal_runs(ddp, fsdp)
    if method == "lora":
        assert record.certificate["passed"]


def test_a_stopped_sharded_run_resumes_to_the_same_bits(command, train, tmp_path):
    # also inside a job of SLURM, whose processes are not the ones to count
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    typed = (*TYPED, "trainer=fsdp", "task.max_steps=40", "method.dropout=0.1", "seed=4")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    output_of(train(*typed, runs=whole, env=slurm))
    process = subprocess.Popen(command(*typed, runs=stopped), cwd=ROOT, env=os.environ | slurm)
    wait_for(process, stopped, "last.ckpt")
    process.send_signal(signal.SIGUSR2)
    assert process.wait() == 130
    folder, record = only(stopped)
    assert record["status"] == "interrupted" and 0 < record["steps"] < 40
    output_of(train(*typed, runs=stopped, env=slurm))
    assert only(stopped)[1]["resumed"] == 1
    assert_same(only(whole)[0], folder)


@pytest.mark.parametrize("overrides", [["task=pretrain", "method=from_scratch"], ["method=pissa"]])
def test_other_heads_and_methods_are_sharded_too(compute, overrides):
    folder, record = compute("trainer=fsdp", *TYPED, *overrides)
    assert record.status == "success"
    assert list((folder / "model").glob("*.safetensors"))


def test_two_processes_move_last_bits_as_one_does(compute):
    still = ("method=full_finetune", "method.optim.lr=1e-30", "method.optim.head_lr=1e-30")

    def first_weights(*typed):
        return weights(compute(*still, *typed)[0])

    one = first_weights("trainer.rounding=1")
    for trainer in ("ddp", "fsdp"):
        many = first_weights(*TYPED, f"trainer={trainer}", "trainer.rounding=1")
        for name, value in many.items():
            torch.testing.assert_close(value, one[name], rtol=0, atol=1e-20, msg=name)
    base = first_weights("trainer.rounding=0")
    for name, value in base.items():  # a bias that began at zero is as small as the rate by now
        assert ((one[name] != value) | (value.abs() < 1e-20)).all(), name
