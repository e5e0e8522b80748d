"""Runs that are killed, stopped, or damaged, and what becomes of them."""

import json
import signal
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from leavings import only, weights

from loradrift.activations import ActivationStore, StoreError, store
from loradrift.callbacks.guards import TrainingFault
from loradrift.config import UserError

ROOT = Path(__file__).parents[2]


def test_a_killed_run_resumes_to_the_same_bits(compute, train_here, start, tmp_path):
    typed = ("task=mrpc", "method=lora", "method.dropout=0.1", "trainer.accumulate=2", "seed=7")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    compute(*typed, runs=whole)
    process = start(*typed, runs=killed)
    while process.poll() is None and not list(killed.rglob("checkpoints/last.ckpt")):
        time.sleep(0.002)
    process.kill()
    process.wait()
    folder, record = only(killed)
    assert record["status"] == "running"
    resumed = train_here(*typed, runs=killed)
    assert resumed.returncode == 0, resumed.stderr
    assert only(killed)[1]["resumed"] == 1
    one, other = weights(whole), weights(killed)
    assert all((one[name] == other[name]).all() for name in one | other)
    for file in ("metrics.csv", "predictions.jsonl", "activations/step=000012.safetensors"):
        assert (only(whole)[0] / file).read_bytes() == (folder / file).read_bytes(), file


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
    while process.poll() is None and not list((tmp_path / "runs").rglob(moment)):
        time.sleep(0.002)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in stderr
    folder, record = only(tmp_path / "runs")
    assert record["status"] == "interrupted"
    assert (folder / moment).is_file()
    assert (record["steps"] >= 3) == (moment == "checkpoints/last.ckpt")


def test_a_signal_while_evaluating_is_an_interruption_too(load, tmp_path, monkeypatch):
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from loradrift.cli import entry_point as cli

    load()  # registers the schemas
    overrides = [f"runs={tmp_path}/runs"]
    with initialize_config_dir(str(ROOT / "conf")):
        cfg = compose("train", overrides)
    mode = OmegaConf.create({"hydra": {"mode": RunMode.RUN}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", mode)
    with pytest.raises(KeyboardInterrupt), cli.cell(cfg, overrides):
        sys.exit(1)  # what Lightning makes of Ctrl-C
    assert only(tmp_path / "runs")[1]["status"] == "interrupted"


def test_an_interrupted_run_does_not_go_on_with_other_rows(compute, tmp_path):
    with pytest.raises(TrainingFault):
        compute("task.min_train_accuracy=1")
    folder, record = only(tmp_path / "runs")
    record["fingerprints"]["train_rows"] = "of another file"
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"since then train_rows changed; force=true archives"):
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
    folder, record = only(tmp_path / "full")
    assert ActivationStore(folder / "activations").steps == [0, 4]
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    monkeypatch.undo()
    _, record = compute("seed=3", runs=tmp_path / "full")
    assert (record.status, record.resumed) == ("success", 1)
    compute("seed=3", runs=tmp_path / "whole")
    one, other = weights(tmp_path / "full"), weights(tmp_path / "whole")
    assert all((one[name] == other[name]).all() for name in one | other)


def test_a_damaged_checkpoint_is_named(compute, tmp_path):
    with pytest.raises(TrainingFault):
        compute("task.min_train_accuracy=1")
    folder, _ = only(tmp_path / "runs")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"last.ckpt is missing or damaged .*; force=true archives"):
        compute("task.min_train_accuracy=1")
