"""Every evaluation of an adapter carries its certificate, and fails without one."""

import json
import sys
from pathlib import Path

import pytest
import torch
from fork_server import ForkedProcess
from front_doors import ROOT, output_of, run_here
from leavings import only
from safetensors.torch import load_file, save_file

from loradrift.callbacks.guards import TrainingFault
from loradrift.diagnose import diagnose as diagnose_folder


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa"])
def test_a_run_of_an_adapter_is_certified(compute, method):
    folder, record = compute(f"method={method}", "seed=4")
    written = json.loads((folder / "run.json").read_text())["certificate"]
    assert record.certificate == written and written["passed"] is True
    assert {"head.safetensors", "adapter_model.safetensors"} < set(written["files"])


def test_full_fine_tuning_needs_none(compute):
    assert compute("method=full_finetune", "seed=4")[1].certificate is None


def test_an_adapter_that_is_switched_off_ends_the_run_as_failed(compute, monkeypatch, tmp_path):
    from loradrift.training import train as module

    evaluate = module.evaluate

    def evaluate_without_adapter(job, task):
        metrics = evaluate(job, task)
        if job.config.method.name == "lora":  # not the base model, which is trained in passing
            task.backbone.lm.base_model.disable_adapter_layers()
        return metrics

    monkeypatch.setattr(module, "evaluate", evaluate_without_adapter)
    with pytest.raises(TrainingFault, match="certificate does not hold: active: the adapters are"):
        compute("method=lora", "seed=5")
    _, record = only(tmp_path / "runs")
    assert record["status"] != "success"
    assert record["certificate"]["passed"] is False


@pytest.mark.end_to_end
def test_the_diagnosis_of_a_folder(compute, tmp_path):
    folder, _ = compute("method=lora", "seed=6", "method.optim.lr=1e-2")
    healthy = output_of(run_here(ROOT / "analyze.py", *typed(folder, tmp_path)))
    assert "diagnosis: applied and healthy: the adapter is applied on the model" in healthy
    assert "\nuse:\nfrom peft import PeftModel\nfrom transformers import " in healthy
    written = json.loads((tmp_path / "results/diagnosis.json").read_text())
    assert [test["passed"] for test in written["tests"]] == [True] * 5
    path = folder / "model" / "adapter_model.safetensors"
    zero = {k: torch.zeros_like(x) if "lora_B" in k else x for k, x in load_file(path).items()}
    path.unlink()
    save_file(zero, path)
    (folder / "run.json").unlink()
    broken = run_here(ROOT / "analyze.py", *typed(folder / "model", tmp_path))
    assert broken.returncode == 1, broken.stderr
    said = " ".join(broken.stdout.split())
    assert "not healthy: lora_B: B is zero in 14 of 14 modules" in said
    for line in (healthy + broken.stdout).splitlines():
        assert len(line) <= 100 or str(tmp_path) in line or "from_pretrained(" in line, line
    unknown = diagnose_folder(str(folder / "model"), "nobody/nothing")
    assert unknown.exit_code == 1  # B is zero on any base
    # a shell needs the exit code, and a pipe the empty stdout
    command = [sys.executable, "analyze.py", *typed(tmp_path / "nothing", tmp_path)]
    process = ForkedProcess(command, ROOT)
    assert process.communicate() == ("", f"error: adapter={tmp_path}/nothing is no folder\n")
    assert process.returncode == 2  # nothing to judge


def test_without_an_adapter_there_is_no_verdict():
    done = run_here(ROOT / "analyze.py", "analysis=diagnose")
    assert done.stderr == "error: analysis=diagnose needs adapter=<folder>\n"
    assert done.returncode == 2


def typed(adapter: Path, tmp_path: Path) -> list[str]:
    return ["analysis=diagnose", f'adapter="{adapter}"', f"analysis.results={tmp_path}/results"]
