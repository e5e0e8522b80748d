"""``method=head_only``: the head learns, the backbone does not move, so no drift is compared."""

import torch
from front_doors import analyze, error_of
from leavings import metric_rows
from safetensors.torch import load_file

from loradrift.config import ModelConfig
from loradrift.models import Classifier, load_backbone


def test_the_head_learns_and_nothing_else_moves(compute):
    folder, record = compute("method=head_only", "seed=1", "callbacks.online_drift.enabled=true")
    assert record.certificate is None and record.parameters["trainable"] == 2 * 32 + 2
    steps = [load_file(path) for path in sorted(folder.glob("activations/step=*.safetensors"))]
    assert len(steps) == 4
    assert all(torch.equal(step[key], steps[0][key]) for step in steps for key in step)
    drift = [float(row["drift/mean"]) for row in metric_rows(folder) if row["drift/mean"]]
    assert len(drift) == 4 and max(map(abs, drift)) < 1e-6  # what rounding leaves
    assert record.metrics["forgetting/loss_after"] == record.metrics["forgetting/loss_before"]

    model = ModelConfig(name="local", path=str(folder / "model"))
    first = Classifier(load_backbone(model, seed=0), 2, seed=1).head.weight
    assert not torch.allclose(load_file(folder / "model/head.safetensors")["weight"], first)


def test_it_does_not_move_so_nothing_is_a_multiple_of_its_drift(compute, tmp_path):
    for method in ("full_finetune", "head_only"):
        compute(f"method={method}", "seed=1")
    for arms in (("full_finetune", "head_only"), ("head_only", "full_finetune")):
        control, treatment = arms
        done = analyze(tmp_path, f"analysis.control={control}", f"analysis.treatment={treatment}")
        assert "nothing to compare" in error_of(done)
        [line] = [line for line in done.stdout.splitlines() if line.startswith("not analysed")]
        assert "sst2 seed=1: " in line and "head_only did not move (its drift is 0 at" in line


def test_it_may_be_part_of_a_study(load):
    assert load("study=drift", "study.methods=[head_only,lora]").study.methods[0] == "head_only"
