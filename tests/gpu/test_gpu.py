"""What only a GPU shows: training in bf16 autocast, and adapters side by side in both engines.

``GPU_TESTS_TRAINER=cpu`` runs them on a CPU, which tries the tests, not the GPU.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from leavings import train_losses, weights

from loradrift.activations import ActivationStore
from loradrift.generation import Completion, EngineSettings, Request, open_engine
from loradrift.serving.export import draw_adapter
from loradrift.serving.tolerance import TOLERANCES
from loradrift.tasks.classification.module import ClassificationTask

TRAINER = os.environ.get("GPU_TESTS_TRAINER", "gpu")
MAX_TOKENS = 16
PROMPTS = [(1, *range(10 * n, 10 * n + 4 + 3 * n)) for n in range(1, 5)]
NAMES = (None, "one", "two")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        TRAINER == "gpu" and not torch.cuda.is_available(), reason="torch sees no GPU here"
    ),
]
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
)


def test_lora_trains_in_bf16_autocast_and_is_certified(compute, tmp_path, monkeypatch):
    seen, own_loss = set(), ClassificationTask.loss

    def loss(self, batch):
        kind = batch["input_ids"].device.type
        seen.add((kind, torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)))
        return own_loss(self, batch)

    monkeypatch.setattr(ClassificationTask, "loss", loss)
    typed = ("task=sst2", "method=lora", "seed=1")
    on_gpu = ("trainer=gpu",) if TRAINER == "gpu" else ("trainer.precision=bf16-mixed",)
    folder, record = compute(*typed, *on_gpu, runs=tmp_path / "autocast")
    assert seen == {("cuda" if TRAINER == "gpu" else "cpu", torch.bfloat16)}
    exact, _ = compute(*typed, runs=tmp_path / "fp32 on the CPU")
    assert record.status == "success" and record.certificate["passed"] is True
    if TRAINER == "gpu":
        assert record.device == torch.cuda.get_device_name()
    # B is zero before the first step: its loss is the CPU's in fp32, but for bfloat16's rounding
    first, wanted = train_losses(folder)[0], train_losses(exact)[0]
    assert first == pytest.approx(wanted, abs=0.02)
    assert {each.dtype for each in weights(folder).values()} == {torch.float32}
    own, other = ActivationStore(folder / "activations"), ActivationStore(exact / "activations")
    assert own.steps == other.steps == [0, 4, 8, 12]
    start, end = own.read(0)["layer_1"], own.read(12)["layer_1"]
    assert distance(start, other.read(0)["layer_1"]) < 0.02 < distance(end, start)


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x - y).norm() / y.norm())


@pytest.fixture(scope="module")
def model(model_folder, tmp_path_factory) -> Path:
    """A Llama of two layers whose heads are as large as every kernel takes them."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("gpu") / "model"
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 256}
    config = LlamaConfig(
        **heads, num_hidden_layers=2, intermediate_size=512, vocab_size=300,
        max_position_embeddings=128, initializer_range=0.06,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(model, tmp_path_factory) -> dict:
    """Two drawn adapters, and the folders of what they are merged into."""
    cache = tmp_path_factory.mktemp("drawn")
    numbered = enumerate(NAMES[1:])
    return {name: draw_adapter(model, cache, rank=8, seed=i, name=name) for i, name in numbered}


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [("hf", "float32"), pytest.param("vllm", "bfloat16", marks=needs_vllm)],
)
def test_adapters_and_base_in_one_batch_answer_as_their_merged_models(
    model, served, engine, dtype, tmp_path
):
    asked = [(ids, name) for ids in PROMPTS for name in NAMES]
    plan = {
        "engine": engine, "dtype": dtype, "accelerator": TRAINER, "max_tokens": MAX_TOKENS,
        "model": model, "adapters": {name: each.adapter for name, each in served.items()},
        "asked": asked,
    }  # fmt: skip
    found = answer(plan, tmp_path)
    assert [len(each) for each in found["answers"]] == [MAX_TOKENS] * len(asked)
    assert (found["gpu_bytes"] > 0) == (TRAINER == "gpu")
    requests = [Request(str(i), ids) for i, (ids, _) in enumerate(asked)]
    given = [Completion(str(i), tuple(ids), ()) for i, ids in enumerate(found["answers"])]
    for name in NAMES:
        folder = served[name].merged if name else model
        with open_engine("hf", EngineSettings(folder, accelerator=TRAINER, max_length=64)) as hf:
            gaps = hf.greedy_gaps(requests, given)
        taken = [TOLERANCES[dtype].allows(each) for each in gaps]
        # its own answers are this model's, and nobody else's are: none could be another's unseen
        assert taken == [own == name for _, own in asked], (name, list(map(max, gaps)))


def answer(plan: dict, folder: Path) -> dict:
    """What an engine in a process of its own answers."""
    (folder / "plan.json").write_text(json.dumps(plan, default=str))
    script = Path(__file__).with_name("side_by_side.py")
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, str(script), str(folder / "plan.json"), str(folder / "answers.json")],
        env=os.environ | {"PYTHONPATH": paths},
        check=True,
        timeout=120,
    )
    return json.loads((folder / "answers.json").read_text())
