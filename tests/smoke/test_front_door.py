"""What a user types, and what it leaves behind."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from safetensors import safe_open
from safetensors.torch import load_file

from loradrift.activations import ActivationStore, StoreError, store
from loradrift.callbacks.guards import TrainingFault
from loradrift.config import UserError

ROOT = Path(__file__).parents[2]


def cells(runs: Path) -> dict[str, dict]:
    """Records by folder, relative to the runs folder."""
    return {
        str(path.parent.relative_to(runs)): json.loads(path.read_text())
        for path in sorted(runs.rglob("run.json"))
        if "archive" not in path.parts
    }


def only(runs: Path) -> tuple[Path, dict]:
    [(name, record)] = cells(runs).items()
    return runs / name, record


def test_a_multirun_leaves_whole_runs_and_is_skipped_the_second_time(train, tmp_path):
    typed = ("task=sst2", "method=lora", "-m", "seed=1,2")
    first = train(*typed)
    assert first.returncode == 0, first.stderr
    records = cells(tmp_path / "runs")
    assert [Path(name).name for name in records] == ["seed=1", "seed=2"]
    table = first.stdout[first.stdout.index("Finished runs") :]
    assert re.search(r"sst2\s.*1,2\s.*accuracy \d+\.\d+ ± \d+\.\d+", table)
    for name, record in records.items():
        assert (record["status"], record["steps"]) == ("success", 12)
        assert record["metrics"]["evaluation/accuracy"] > 0.3
        assert record["performance"]["tokens_per_s"] > 0
        check_files(tmp_path / "runs" / name, record)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/main").rglob("*.*")}
    again = train(*typed)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished already") == 2
    assert table[: table.index("\n\n") if "\n\n" in table else None] in again.stdout
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/main").rglob("*.*")}


def check_predictions(folder: Path, record: dict) -> None:
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == record["rows"]["evaluation"] == len(rows)
    right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert right == pytest.approx(record["metrics"]["evaluation/accuracy"], abs=1e-6)


def check_files(folder: Path, record: dict) -> None:
    check_predictions(folder, record)
    with (folder / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(13))
    store = ActivationStore(folder / "activations")
    assert store.steps == [0, 4, 8, 12]
    assert store.manifest["probe"]["fingerprint"] == record["fingerprints"]["probe"]
    assert store.read(12)["layer_1"].shape == (16, 32)
    with safe_open(folder / "model" / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert all(name.startswith("base_model.model.model.layers.") for name in names)
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (folder / "config.yaml").is_file()


def weights(runs: Path) -> dict:
    folder, _ = only(runs)
    return load_file(folder / "model" / "adapter_model.safetensors")


@pytest.mark.parametrize("moment", ["checkpoints/last.ckpt", "activations/step=000008.safetensors"])
def test_a_killed_run_resumes_to_the_same_bits(compute, train, command, tmp_path, moment):
    typed = ("task=mrpc", "method=lora", "method.dropout=0.1", "trainer.accumulate=2", "seed=7")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    compute(*typed, runs=whole)
    process = subprocess.Popen(command(*typed, runs=killed), cwd=ROOT)
    while process.poll() is None and not list(killed.rglob(moment)):
        os.sched_yield()
    process.kill()
    process.wait()
    folder, record = only(killed)
    assert record["status"] == "running"
    resumed = train(*typed, runs=killed)
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
        (signal.SIGTERM, "checkpoints/last.ckpt"),
        (signal.SIGTERM, "run.json"),  # while everything is still being loaded
    ],
)
def test_a_signal_leaves_a_status_and_exit_code_130(train, command, tmp_path, number, moment):
    typed = ("method=full_finetune", "task.max_steps=400")
    process = subprocess.Popen(command(*typed), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "runs").rglob(moment)):
        os.sched_yield()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in stderr
    folder, record = only(tmp_path / "runs")
    assert record["status"] == "interrupted"
    assert (folder / moment).is_file()


def test_a_signal_while_evaluating_is_an_interruption_too(load, tmp_path, monkeypatch):
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from loradrift import cli

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
    def full(path, data):
        if path.name >= "step=000008":
            raise StoreError(f"{path} could not be written: No space left on device")
        return replacing(path, data)

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


def test_dumping_does_not_change_what_is_learned(compute, tmp_path):
    typed = ("method.dropout=0.2", "trainer.accumulate=2", "seed=5")
    compute(*typed, runs=tmp_path / "watched")
    compute(*typed, "callbacks.activation_dump.enabled=false", runs=tmp_path / "alone")
    one, other = weights(tmp_path / "watched"), weights(tmp_path / "alone")
    assert all((one[name] == other[name]).all() for name in one | other)


def test_a_damaged_checkpoint_is_named(compute, tmp_path):
    with pytest.raises(TrainingFault):
        compute("task.min_train_accuracy=1")
    folder, _ = only(tmp_path / "runs")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"last.ckpt is missing or damaged .*; force=true archives"):
        compute("task.min_train_accuracy=1")


def test_a_failing_job_does_not_end_the_others(train, tmp_path):
    result = train("-m", "task=sst2", "method.target_modules=[nothing],[q_proj]", "seed=1")
    assert result.returncode == 1
    message = "method.target_modules: nothing matches no module."
    assert message in result.stderr  # at once
    table = result.stdout[result.stdout.index("Finished runs") :]
    assert re.search(rf"failed .*target_modules=\[nothing\].*: {message}", table)
    assert "1 of 2 jobs failed" in table
    statuses = [record["status"] for record in cells(tmp_path / "runs").values()]
    assert sorted(statuses) == ["failed", "success"]


def test_the_sanity_check_passes_or_fails_by_exit_code(compute, train, tmp_path):
    impossible = train("experiment=overfit", "data.train_rows=100", runs=tmp_path / "short")
    assert impossible.returncode == 1
    assert "did not learn its own training rows by heart: accuracy" in impossible.stderr
    assert only(tmp_path / "short")[1]["status"] == "failed"
    enough = ("method=full_finetune", "task.max_steps=300", "task.batch_size=25")
    _, record = compute("experiment=overfit", "data.train_rows=100", *enough)
    assert record.metrics["train/accuracy"] >= 0.99


@pytest.mark.parametrize("method", ["majority", "random", "zero_shot"])
def test_a_baseline_writes_the_same_record(compute, method):
    folder, record = compute(f"method={method}", "task=rte")
    assert record.status == "success"
    assert {"evaluation/accuracy", "validation/f1"} < set(record.metrics)
    assert set(record.fingerprints) > {"evaluation_rows", "tokenization", "probe"}
    check_predictions(folder, asdict(record))


def test_wandb_offline_gives_each_job_its_own_closed_run(train, tmp_path):
    key = "0123456789" * 4
    env = {"WANDB_MODE": "offline", "WANDB_API_KEY": key}
    result = train("logger=wandb", "-m", "seed=1,2", env=env)
    assert result.returncode == 0, result.stderr
    folders = sorted((tmp_path / "runs").rglob("offline-run-*"))
    assert len([f for f in folders if f.is_dir()]) == 2
    assert all(list(folder.glob("run-*.wandb")) for folder in folders if folder.is_dir())
    written = [p for p in tmp_path.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
    assert not written


def test_tensorboard_writes_its_events(compute):
    folder, _ = compute("logger=tensorboard")
    assert list(folder.glob("tensorboard/events.*"))


def test_two_processes_give_the_loss_curve_of_one_with_the_doubled_batch(compute, tmp_path):
    curves = []
    for name, overrides in {"1": [], "2": ["trainer=ddp"]}.items():
        batch_size = f"task.batch_size={8 // int(name)}"
        folder, record = compute(*overrides, batch_size, runs=tmp_path / name)
        with (folder / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["train/loss"]]
        curves.append([float(row["train/loss"]) for row in rows])
        assert ActivationStore(folder / "activations").steps == [0, 4, 8, 12]
        check_predictions(folder, asdict(record))
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
