"""Real vLLM answers with a direction at any coefficient as the merged weights do."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from loradrift.adapters.writing import write_low_rank
from loradrift.config import ModelConfig
from loradrift.models import load_backbone
from loradrift.models.merging import merged
from loradrift.weights import LowRank, difference

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed: `make serve-setup` brings it",
    ),
]

PROMPTS = [list(range(5, 25)), list(range(50, 90))]
COEFFICIENTS = {"quarter": 0.25, "whole": 1.0, "away": -0.5, "twice": 2.0}
RANKS = (8, 12)
"""Of the two sides: their difference has a rank that is none of vLLM's steps."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=256,
        initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def direction(model) -> dict[str, LowRank]:
    """Of rsLoRA adapters of unequal ranks, in every linear layer."""
    draw = torch.Generator().manual_seed(1)
    backbone = load_backbone(ModelConfig(name="local", path=str(model)), seed=0)
    shapes = {
        name: module.weight.shape
        for name, module in backbone.decoder.named_modules(prefix="model")
        if isinstance(module, torch.nn.Linear)
    }

    def side(rank: int) -> dict[str, LowRank]:
        return {
            name: LowRank(
                0.02 * torch.randn(rows, rank, generator=draw),
                torch.randn(rank, columns, generator=draw),
                16 / math.sqrt(rank),
            )
            for name, (rows, columns) in shapes.items()
        }

    assert len(shapes) == 14
    return difference(*map(side, RANKS))


@pytest.fixture(scope="module")
def answers(model, direction, tmp_path_factory) -> dict[str, list[int]]:
    place = tmp_path_factory.mktemp("session")
    adapters = {}
    for name, coefficient in COEFFICIENTS.items():
        adapters[name] = str(place / name)
        write_low_rank(place / name, direction, base=str(model), coefficient=coefficient)
    plan = {"model": str(model), "adapters": adapters, "prompts": PROMPTS}
    (place / "plan.json").write_text(json.dumps(plan))
    script = Path(__file__).with_name("direction_session.py")
    subprocess.run(
        [sys.executable, str(script), str(place / "plan.json"), str(place / "answers.json")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=True,
        timeout=600,
    )
    return json.loads((place / "answers.json").read_text())


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_every_token_is_the_merged_model_s_likeliest(model, direction, answers, name):
    backbone = load_backbone(ModelConfig(name="local", path=str(model)), seed=0).eval()
    moved = 0
    with merged(backbone, direction, COEFFICIENTS[name]), torch.no_grad():
        for number, prompt in enumerate(PROMPTS):
            given = answers[f"{name}/{number}"]
            logits_TV = backbone.causal_lm(torch.tensor([[*prompt, *given]])).logits[0]
            before_AV = logits_TV[len(prompt) - 1 : -1].log_softmax(-1)
            gap = before_AV.amax(-1) - before_AV.gather(1, torch.tensor(given)[:, None])[:, 0]
            assert len(given) == 24 and float(gap.max()) < 1e-3
            moved += given != answers[f"/{number}"]
    assert moved == len(PROMPTS)  # the base model answers otherwise
