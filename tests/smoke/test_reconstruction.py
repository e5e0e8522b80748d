"""``task=reconstruction`` through the front door: what a run records, and what is refused."""

import json

import pandas as pd
import pytest
import torch
from front_doors import error_of, output_of
from leavings import assert_same, cells, failing_at_step, metric_rows
from safetensors.torch import load_file

from loradrift.adapters.adapter_changes import read_adapter
from loradrift.callbacks.guards import TrainingFault
from loradrift.cli.entry_point import quote_values
from loradrift.tasks.reconstruction import module

pytestmark = pytest.mark.end_to_end

TASK = (
    "task=reconstruction", "task.generated_rows=12", "task.num_latents=4", "task.d_z=6",
    "task.latent_bits=8",
)  # fmt: skip
SHORT = (*TASK, "data.train_rows=64", "task.max_steps=6", "task.evaluation_rows=20")


def quoted(*typed):
    """What is typed, as the front door quotes it: a run's folder has characters of Hydra's."""
    command = ["train.py", *typed]
    quote_values(command)
    return command[1:]


def test_a_run_trains_answers_exports_and_is_certified(compute):
    folder, record = compute(*TASK, "method=lora", "method.layers=1", "task.evaluation_rows=40")
    assert (record.status, record.certificate["passed"]) == ("success", True)
    assert len(read_adapter(folder / "model")) == 7
    names = {"loss", "text_f1", "text_em", "first_token_accuracy", "teacher_forced_accuracy",
             "reconstruction_cosine"}  # fmt: skip
    for split in ("validation", "evaluation"):
        assert all(f"{split}/{name}" in record.metrics for name in names)
    facts = record.metrics
    assert facts["evaluation/latent_bytes"] == 4 * 6
    ratio = facts["evaluation/text_bytes"] / 24
    assert facts["evaluation/compression"] == pytest.approx(ratio)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    assert len(lines) == record.rows["evaluation"] == 40
    mean = sum(line["f1"] for line in lines) / 40
    assert record.metrics["evaluation/text_f1"] == pytest.approx(mean)
    rows = [row for row in metric_rows(folder) if row["train/grad/first_token/lora"]]
    assert len(rows) == 12
    assert float(rows[-1]["train/grad/first_token/lora"]) > 0
    assert all(float(row["train/grad/reconstruction/lora"]) == 0 for row in rows)
    assert all(float(row["train/loss_reconstruction"]) > 0 for row in rows)
    assert_climbed(folder, mean)
    head = load_file(folder / "model" / "head.safetensors")
    assert {"adapter.scale", "grid.low_Z", "embedding_rms"} < head.keys()
    steps = sorted(folder.glob("activations/step=*.safetensors"))
    first, last = load_file(steps[0]), load_file(steps[-1])
    assert any(not torch.equal(first[name], last[name]) for name in first)


def assert_climbed(folder, mean):
    """Every rung has the same rows, and text is read alike as ids and as vectors."""
    ladder = pd.read_parquet(folder / "ladder.parquet")
    assert (ladder.groupby("rung").size() == 40).all() and ladder["rung"].nunique() == 10
    rungs = {rung: own.set_index("id") for rung, own in ladder.groupby("rung")}
    assert rungs["soft_prompt"]["f1"].mean() == pytest.approx(mean)
    text, vectors = rungs["full_text"], rungs["embedding_replay"]
    assert (text["answer"] == vectors["answer"]).all()
    assert (text["gold_loss"] - vectors["gold_loss"]).abs().max() < 1e-3
    assert (rungs["truncated_bytes"]["bytes"] <= 24).all()
    facts = json.loads((folder / "ladder.json").read_text())
    assert facts["latent_bytes"] == 24 and facts["latent_ignored"] in (True, False)
    assert len(json.loads((folder / "examples.json").read_text())) == 12


def test_without_lora_the_head_alone_is_trained(compute):
    folder, record = compute(*SHORT, "method=head_only", "task.first_token_weight=0")
    assert record.status == "success" and record.certificate is None
    assert not any("grad/first_token" in name for name in metric_rows(folder)[0])


def test_a_language_model_that_no_loss_goes_through_ends_the_run(compute, monkeypatch):
    """The fault of an earlier project: answer losses that were not of the model's own pass."""
    read = module.answer_logits
    monkeypatch.setattr(module, "answer_logits", lambda *given: read(*given).detach())
    with pytest.raises(TrainingFault, match=r"28 parameters that should train received no gradien"):
        compute(*SHORT, "method=lora")


def test_a_run_that_failed_goes_on_to_the_bit(compute, monkeypatch, tmp_path):
    typed = (*SHORT, "method=lora", "task.kd_weight=0.1", "task.k_token_weight=0.1")
    whole, _ = compute(*typed, runs=tmp_path / "whole")
    with failing_at_step(monkeypatch, 4):
        compute(*typed, runs=tmp_path / "broken")
    resumed, record = compute(*typed, runs=tmp_path / "broken")
    assert record.resumed == 1
    assert_same(whole, resumed, "predictions.jsonl")


@pytest.mark.parametrize("adapt", ["encoder", "both"])
def test_lora_on_the_encoder_is_exported_and_certified(compute, tmp_path, adapt):
    typed = (*SHORT, "method=lora", "method.optim.head_lr=1e-2")
    first, _ = compute(*SHORT, "method=head_only", runs=tmp_path / "first")
    typed = quoted(*typed, f"task.adapt={adapt}", f"task.encoder_run={first}")
    folder, record = compute(*typed)
    certificate = record.certificate
    assert certificate["passed"]
    encoder = certificate if adapt == "encoder" else certificate["encoder"]
    assert encoder["passed"] and any("encoder" in name for name in encoder["files"]) is False
    assert len(read_adapter(folder / "model" / "encoder")) == 15
    assert (folder / "model" / "adapter_model.safetensors").is_file() == (adapt == "both")
    assert len(record.fingerprints["encoder_run"]) == 64
    before = load_file(first / "model" / "head.safetensors")
    after = load_file(folder / "model" / "head.safetensors")
    name = "blocks.0.q_proj.weight"
    below = f"encoder.base_model.model.{name.replace('.weight', '.base_layer.weight')}"
    assert torch.equal(before[f"encoder.{name}"], after[below])


def test_a_trained_head_is_taken_up(compute, tmp_path):
    first, record = compute(*SHORT, "method=head_only", runs=tmp_path / "first")
    typed = quoted(*SHORT, "method=head_only", f"task.encoder_run={first}")
    _, second = compute(*typed, "task.max_steps=1", "method.optim.lr=1e-9")
    # one step of no size: the head is what the other run left
    same = "evaluation/reconstruction_cosine"
    assert second.metrics[same] == pytest.approx(record.metrics[same], rel=1e-3)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["task.num_latents=8"], "has task.num_latents=4, and this run has 8"),
        (["model.pretraining.seed=7"], "is of another base model: tiny with digest"),
    ],
)
def test_a_head_of_another_run_is_refused(compute, train_here, tmp_path, typed, message):
    first, _ = compute(*SHORT, "method=head_only", runs=tmp_path / "first")
    done = train_here(*SHORT, "method=lora", f"task.encoder_run={first}", *typed)
    line = error_of(done)
    assert message in line and "task.encoder_run=" in line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["task.encoder_run=nowhere"], "task.encoder_run=nowhere is no run: it has no run.json"),
        ([f"task.encoder_run={__file__}"], "task.encoder_run must be the folder of a run, not a f"),
        (["method.layers=3"], "method.layers must be at most 2, the model's blocks, got 3"),
        (["task.d_z=40"], "task.d_z must be at most 32, the width of the embeddings, got 40"),
        (["task.num_latents=600"], "task.num_latents must be at most "),
        (["task.first_token_weight=0"], "method=lora would get no gradient: task.first_token_we"),
    ],
)
def test_what_cannot_be_trained_is_one_line(train_here, typed, message):
    assert message in error_of(train_here(*SHORT, "method=lora", *typed))


def test_wandb_and_a_search_take_it_like_any_task(train_here, tmp_path):
    env = {"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(tmp_path / "wandb")}
    typed = ["search=lora", *SHORT, "logger=wandb", "hydra.sweeper.n_trials=1"]
    output_of(train_here(*typed, f"results={tmp_path}/results", "-m", env=env))
    [(name, record)] = cells(tmp_path / "runs").items()
    assert name.startswith("main.search/reconstruction/lora,") and record["status"] == "success"
    assert len(list((tmp_path / "runs").rglob("run-*.wandb"))) == 1
    best = (tmp_path / "results/search/main/reconstruction_lora.yaml").read_text()
    assert f"method.optim.lr: {record['config']['method']['optim']['lr']}" in best
    assert not any(key.startswith("evaluation/") for key in record["metrics"])
