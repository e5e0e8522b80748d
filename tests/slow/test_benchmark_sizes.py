"""benchmark.py with models of real sizes on the real vLLM: SmolLM2-135M, and TinyLlama's shape."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from front_doors import output_of, run_here

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vLLM is not installed"),
]
SMOLLM2 = ROOT / ".cache" / "models" / "smollm2-135m"
FEW = (
    "serving.source=drawn", "serving.prompts=fixed", "serving.prompt_length=16",
    "serving.max_tokens=16", "serving.rounds=1", "serving.adapters=2", "serving.slots=null",
    "serving.declared_rank=null", "serving.memory=false", "serving.server.enabled=false",
)  # fmt: skip


def measure(tmp_path: Path, *typed: str) -> dict:
    """Run a cell to its end; what ``checks.json`` says."""
    places = [f"{key}={tmp_path}/{key}" for key in ("runs", "cache", "results")]
    said = output_of(run_here(ROOT / "benchmark.py", *FEW, *typed, *places))
    assert " 0 were wrong " in said
    [path] = tmp_path.glob("runs/serving/vllm/*/checks.json")
    return json.loads(path.read_text())


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="`make smollm2` makes the model")
def test_smollm2(tmp_path):
    own = ("model=smollm2", f"model.path={SMOLLM2}", "serving.kv_cache_mb=128")
    checks = measure(tmp_path, *own, "serving.batch_sizes=1,8")
    arms = 5  # base, two merged, two adapters, LoRA enabled
    assert checks["answers"] == arms * (1 + 8) == checks["equal"] + checks["ties"]


def memory_gb() -> float:
    """What this machine has free."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvail")) / 1e6


@pytest.mark.skipif(memory_gb() < 20, reason="20 GB of free memory are needed")
def test_the_shape_of_tinyllama_with_random_weights_in_bfloat16(model_folder, tmp_path):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path / "model"
    size = {"num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4}
    wide = {"hidden_size": 2048, "intermediate_size": 5632, "vocab_size": 32000}
    torch.manual_seed(0)
    with torch.device("cpu"):
        model = LlamaForCausalLM(LlamaConfig(**size, **wide, max_position_embeddings=2048))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(folder)
    del model
    checks = measure(
        tmp_path, "model=local", f"model.path={folder}", "serving.dtype=bfloat16",
        "serving.batch_sizes=2", "serving.kv_cache_mb=256",
    )  # fmt: skip
    shutil.rmtree(tmp_path)  # gigabytes
    assert checks["answers"] == 5 * 2 and checks["wrong"] == 0
