"""Runs that are killed, stopped, or damaged, and what becomes of them."""

import json
import signal

import pytest
from front_doors import output_of
from leavings import assert_same, only, wait_for

from loradrift.activations import ActivationStore, StoreError, store
from loradrift.callbacks.guards import TrainingFault
from loradrift.config import UserError


def test_a_killed_run_resumes_to_the_same_bits(compute, train_here, start, tmp_path):
    typed = (
        "task=mrpc", "method=lora", "method.dropout=0.1", "trainer.accumulate=2",
        "trainer.rounding=1", "seed=7",
    )  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    compute(*typed, runs=whole)
    process = start(*typed, runs=killed)
    wait_for(process, killed, "checkpoints/last.ckpt")
    process.kill()
    process.wait()
    folder, record = only(killed)
    assert record["status"] == "running"
    output_of(train_here(*typed, runs=killed))
    assert only(killed)[1]["resumed"] == 1
    files = ("metrics.csv", "predictions.jsonl", "activations/step=000012.safetensors")
    assert_same(only(whole)[0], folder, *files)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "checkpoints/last.ckpt"),  # while training
        (signal.SIGTERM, "run.json"),  # while everything is still being loaded
    ],
)
def test_a_signal_leaves_a_status_and_exit_code_130(start, tmp_path, number, moment):
    typed = ("method=full_finetune", "task.max_steps=400")
    process = start(*typed)
    wait_for(process, tmp_path / "runs", moment)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in stderr
    folder, record = only(tmp_path / "runs")
    assert record["status"] == "interrupted"
    assert (folder / moment).is_file()
    assert (record["steps"] >= 3) == (moment == "checkpoints/last.ckpt")


def test_an_interrupted_run_goes_on_with_neither_other_rows_nor_a_damaged_checkpoint(
    compute, tmp_path
):
    with pytest.raises(TrainingFault):
        compute("task.min_train_accuracy=1")
    folder, record = only(tmp_path / "runs")
    other = record | {"fingerprints": record["fingerprints"] | {"train_rows": "of another file"}}
    (folder / "run.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"since then train_rows changed; force=true archives"):
        compute("task.min_train_accuracy=1")
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"last.ckpt is missing or damaged .*; force=true archives"):
        compute("task.min_train_accuracy=1")


def test_a_full_disk_while_dumping_leaves_the_training_resumable(compute, tmp_path, monkeypatch):
    def full(path):
        if path.name >= "step=000008":
            raise StoreError(f"{path} could not be written: No space left on device")
        return replacing(path)

    replacing = store.replacing
    monkeypatch.setattr(store, "replacing", full)
    with pytest.raises(StoreError, match=r"step=000008.safetensors could not be written: No space"):
        compute("seed=3", runs=tmp_path / "full")
    folder, _ = only(tmp_path / "full")
    assert ActivationStore(folder / "activations").steps == [0, 4]
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    monkeypatch.undo()
    _, record = compute("seed=3", runs=tmp_path / "full")
    assert (record.status, record.resumed) == ("success", 1)
    whole, _ = compute("seed=3", runs=tmp_path / "whole")
    assert_same(whole, folder)
