"""``method=head_only``: the head learns, the backbone does not move, and no drift is measured."""

import json

import torch
from front_doors import analyze, output_of
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


def test_it_drifts_less_than_anything(compute, tmp_path):
    for method in ("full_finetune", "head_only"):
        compute(f"method={method}", "seed=1")
    typed = ("analysis.study=main", "analysis.treatment=head_only", "analysis.figures=[frontier]")
    output_of(analyze(tmp_path, *typed))
    results = json.loads(next(tmp_path.rglob("drift_analysis_results.json")).read_text())
    methods = results["task_results"]["sst2"]["all_results"]
    drift, moved = (
        [layer["drift"] for layer in methods[method][0]["layer_wise_drift"].values()]
        for method in ("head_only", "full_finetune")
    )
    assert max(map(abs, drift)) < 1e-6 < min(moved)  # what rounding leaves
    assert "head only" in next(tmp_path.rglob("report.html")).read_text()


def test_it_may_be_part_of_a_study(load):
    assert load("study=drift", "study.methods=[head_only,lora]").study.methods[0] == "head_only"
