"""What a user types, and what it leaves behind."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from fork_server import ForkedProcess
from front_doors import ROOT, output_of
from leavings import cells, check_predictions, metric_rows, only, train_losses
from safetensors import safe_open

from loradrift.activations import ActivationStore
from loradrift.callbacks.guards import TrainingFault


def test_a_multirun_leaves_whole_runs_and_is_skipped_the_second_time(start, train_here, tmp_path):
    typed = ("task=sst2", "method=lora", "-m", "seed=1,2")
    first = start(*typed)
    out, err = first.communicate()
    assert first.returncode == 0, err
    records = cells(tmp_path / "runs")
    assert [Path(name).name for name in records] == ["seed=1", "seed=2"]
    table = out[out.index("Finished runs") :]
    assert re.search(r"SST-2-like \(generated\)\s.*1,2\s.*accuracy \d+\.\d+ ± \d+\.\d+", table)
    for name, record in records.items():
        assert (record["status"], record["steps"]) == ("success", 12)
        assert record["metrics"]["evaluation/accuracy"] > 0.3
        assert record["performance"]["tokens_per_s"] > 0
        check_files(tmp_path / "runs" / name, record)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/main").rglob("*.*")}
    again = output_of(train_here(*typed))
    assert again.count("finished already") == 2
    assert table[: table.index("\n\n") if "\n\n" in table else None] in again
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "runs/main").rglob("*.*")}


def check_files(folder: Path, record: dict) -> None:
    check_predictions(folder, record)
    assert [int(row["step"]) for row in metric_rows(folder)] == list(range(13))
    store = ActivationStore(folder / "activations")
    assert store.steps == [0, 4, 8, 12]
    assert store.manifest["probe"]["fingerprint"] == record["fingerprints"]["probe"]
    assert store.read(12)["layer_1"].shape == (16, 32)
    with safe_open(folder / "model" / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert all(name.startswith("base_model.model.model.layers.") for name in names)
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt"}
    assert (folder / "config.yaml").is_file()


def test_bf16_clips_and_checkpoints_and_tensorboard_has_its_events(compute):
    typed = ("trainer.precision=bf16-mixed", "trainer.gradient_checkpointing=true")
    folder, record = compute(*typed, "logger=tensorboard")
    assert record.status == "success"
    assert list(folder.glob("tensorboard/events.*"))


def test_the_logged_loss_is_the_mean_of_a_steps_micro_batches(compute, tmp_path):
    losses = []
    for size, accumulate in ((8, 1), (4, 2)):
        sizes = (f"task.batch_size={size}", f"trainer.accumulate={accumulate}")
        folder, _ = compute(
            *sizes, "data.train_rows=8", "task.max_steps=1", runs=tmp_path / str(accumulate)
        )
        losses.append(train_losses(folder)[0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_last_step_is_validated_and_keeps_its_own_figures(compute):
    folder, _ = compute("method=full_finetune", "seed=8")
    rows = {int(row["step"]): row for row in metric_rows(folder)}
    assert [step for step, row in rows.items() if row["validation/accuracy"]] == [5, 10, 12]
    assert rows[12]["evaluation/accuracy"]


def test_a_failing_job_ends_neither_the_others_nor_the_batches_after_it(train_here, tmp_path):
    modules = "method.target_modules=[nothing],[q_proj]"
    result = train_here("-m", "task=sst2", modules, "seed=1", "hydra.sweeper.max_batch_size=1")
    assert result.returncode == 1
    assert "Error executing job" not in result.stderr, "Hydra's own line"
    message = "method.target_modules: nothing matches no module."
    assert message in result.stderr  # at once
    table = result.stdout[result.stdout.index("Finished runs") :]
    name = "main/sst2/lora,...,method.target_modules=[{}]/seed=1"  # what they share is left out
    where = re.escape(f"(in {name.format('nothing')})")
    assert re.search(rf"failed: {message}.* {where}", table)
    assert f"\n{name.format('q_proj')}: step 12 of 12, about 0 s left\n" in result.stdout
    assert "1 of 2 jobs failed" in table
    statuses = [record["status"] for record in cells(tmp_path / "runs").values()]
    assert sorted(statuses) == ["failed", "success"]


@pytest.mark.slow
def test_jobs_in_another_process_are_in_the_closing_table(train_here, tmp_path):
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    said = output_of(train_here("method=majority", "-m", "seed=1,2", *launcher))
    assert re.search(r"SST-2-like \(generated\)\s.*majority\s.*1,2\s.*accuracy", said)
    assert [record["status"] for record in cells(tmp_path / "runs").values()] == ["success"] * 2


@pytest.mark.end_to_end
def test_the_sanity_check_passes_or_ends_as_a_fault(compute):
    with pytest.raises(TrainingFault, match="did not overfit its own training rows: accur"):
        compute("experiment=overfit", "data.train_rows=100")
    enough = ("method=full_finetune", "task.max_steps=150", "task.batch_size=25")
    _, record = compute("experiment=overfit", "data.train_rows=100", *enough)
    assert record.metrics["train/accuracy"] >= 0.99


@pytest.mark.parametrize("method", ["majority", "random", "zero_shot"])
def test_a_baseline_writes_the_same_record(compute, method):
    folder, record = compute(f"method={method}", "task=rte")
    assert record.status == "success"
    assert {"evaluation/accuracy", "validation/f1"} < set(record.metrics)
    assert set(record.fingerprints) > {"evaluation_rows", "tokenization", "probe"}
    check_predictions(folder, asdict(record))


@pytest.mark.end_to_end
def test_wandb_offline_gives_each_job_its_own_closed_run(train_here, tmp_path):
    key = "0123456789" * 4
    data = tmp_path / "wandb"  # where W&B keeps what an artifact will upload
    env = {"WANDB_MODE": "offline", "WANDB_API_KEY": key, "WANDB_DATA_DIR": str(data)}
    drift = "callbacks.online_drift.enabled=true"
    output_of(train_here("logger=wandb", drift, "-m", "seed=1,2", env=env))
    assert len(list((tmp_path / "runs").rglob("drift_by_layer_table*.json"))) == 2
    staged = {path.read_bytes() for path in data.rglob("*") if path.is_file()}
    for name in cells(tmp_path / "runs"):
        for table in ("predictions.jsonl", "metrics.csv", "config.yaml"):
            assert (tmp_path / "runs" / name / table).read_bytes() in staged
    folders = [path for path in (tmp_path / "runs").rglob("offline-run-*") if path.is_dir()]
    assert len(folders) == 2 and all(list(folder.glob("run-*.wandb")) for folder in folders)
    written = [p for p in tmp_path.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
    assert not written


def test_two_processes_give_the_figures_of_one_with_the_doubled_batch(compute, command, tmp_path):
    compute("task.batch_size=8", runs=tmp_path / "one")
    python, _, *typed = command("trainer=ddp", "task.batch_size=4", runs=tmp_path / "two")
    two = ForkedProcess([python, str(Path(__file__).with_name("forked_train.py")), *typed], ROOT)
    _, err = two.communicate()
    assert two.returncode == 0, err
    curves, losses = [], []
    for folder, record in (only(tmp_path / "one"), only(tmp_path / "two")):
        curves.append(train_losses(folder))
        metrics = record["metrics"]
        losses.append([metrics[f"forgetting/loss_{when}"] for when in ("before", "after")])
        assert ActivationStore(folder / "activations").steps == [0, 4, 8, 12]
        check_predictions(folder, record)
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
