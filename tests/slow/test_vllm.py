"""Real vLLM on a CPU: each size of attention heads that is let through, and memory given back."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from loradrift.generation import Completion, EngineSettings, Request, open_engine
from loradrift.generation.vllm_rules import HEAD_SIZES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed: `make serve-setup` brings it",
    ),
]

REQUESTS = [Request("0", tuple(range(5, 25))), Request("1", tuple(range(50, 90)))]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[int, Path]:
    """A model for each size, whose answers wander."""
    place = tmp_path_factory.mktemp("models")
    for size in HEAD_SIZES:
        torch.manual_seed(size)
        shape = {"hidden_size": 2 * size, "num_attention_heads": 2, "num_key_value_heads": 1}
        config = LlamaConfig(
            vocab_size=512, intermediate_size=64, num_hidden_layers=2, head_dim=size,
            max_position_embeddings=256, initializer_range=0.2, **shape,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(place / str(size))
    return {size: place / str(size) for size in HEAD_SIZES}


@pytest.fixture(scope="module")
def found(models, tmp_path_factory) -> dict:
    place = tmp_path_factory.mktemp("session")
    (place / "plan.json").write_text(json.dumps(models, default=str))
    script = Path(__file__).with_name("vllm_session.py")
    subprocess.run(
        [sys.executable, str(script), str(place / "plan.json"), str(place / "answers.json")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=True,
        timeout=600,
    )
    return json.loads((place / "answers.json").read_text())


@pytest.mark.parametrize("size", HEAD_SIZES)
def test_heads_of_this_size_answer_as_under_transformers(found, models, size):
    answers = found["answers"][str(size)]
    assert [len(set(each)) > 2 for each in answers] == [True, True]
    given = [Completion(x.id, tuple(ids), ()) for x, ids in zip(REQUESTS, answers, strict=True)]
    with open_engine("hf", EngineSettings(models[size], max_length=256)) as engine:
        assert max(map(max, engine.greedy_gaps(REQUESTS, given))) < 1e-3


def test_a_closed_engine_gives_its_memory_back(found):
    first, *_, last = found["resident"][1:]
    assert last - first < 32 * 2**20  # one cache alone is twice that
