"""``analysis=pairs`` as it is typed, on real pairs and a real model."""

import json
from pathlib import Path

import pytest
import torch
from front_doors import ROOT, error_of, output_of, run_here

from loradrift.analysis.pairs.comparison import compare
from loradrift.analysis.registry import make_config

ROWS = 24


@pytest.fixture
def adapter(shared, tmp_path) -> Path:
    """A LoRA adapter of base-3M that changes it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(
        shared / "models/base-3M", dtype=torch.float32, use_safetensors=True
    )
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.05)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def analyze(tmp_path: Path, *typed: str):
    place = f"analysis.results={tmp_path}/results"
    return run_here(ROOT / "analyze.py", "analysis=pairs", place, *typed)


def test_mrpc_by_a_real_model_without_and_with_an_adapter(shared, adapter, tmp_path):
    lines = (shared / "glue/MRPC/dev.tsv").read_bytes().split(b"\n")
    (tmp_path / "dev.tsv").write_bytes(b"\n".join(lines[: ROWS + 1]))
    done = analyze(tmp_path, f"pairs={tmp_path}/dev.tsv", f"adapter={adapter}")
    assert f"Cosine scores of {ROWS} text pairs" in output_of(done) and done.stderr == ""
    facts = json.loads((tmp_path / "results/pairs.json").read_text())
    assert facts["num_pairs"] == ROWS and facts["largest_score_change"] > 1e-4
    # A pretrained model's cosines are not blind to paraphrase.
    assert facts["baseline"]["roc_auc"] > 0.5 and facts["baseline"]["accuracy"] >= 0.5


def test_a_run_of_the_small_model_names_its_base_in_the_cache(compute, tmp_path):
    folder, record = compute("task=mrpc", "method=lora", "seed=1")
    assert record.config["model"]["path"] == ""  # so it is the adapter that says where
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text1,text2,label\na dog runs,the dog runs,1\na dog runs,it rains,0\n")
    keys = {"pairs": str(pairs), "adapter": str(folder)}
    found = compare(make_config("pairs", keys=keys))
    assert found.warnings == [] and (found.scores["baseline"] != found.scores["adapter"]).all()
    assert found.case.prints.loaded == record.fingerprints["base_model"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("adapter=x",), "analysis=pairs needs pairs=<CSV or TSV file>"),
        (("pairs=x",), "analysis=pairs needs adapter=<folder>"),
        (("pairs=nowhere.csv", "adapter=x"), "pairs=nowhere.csv is no file"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, overrides, message):
    assert error_of(analyze(tmp_path, *overrides)).startswith(f"error: {message}")
    assert not (tmp_path / "results").exists()
