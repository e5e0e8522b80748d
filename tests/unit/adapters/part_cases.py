"""Adapters that train more than factors, and a base for them."""

import adapter_cases as cases
import pytest
import torch
from torch import nn

Q, EMBEDDING = "model.layers.0.self_attn.q_proj", "model.embed_tokens"
ROWS = f"{EMBEDDING}.token_adapter.trainable_tokens_delta"
KINDS = {
    "plain": {},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "all biases": {"bias": "all"},
    "own biases": {"bias": "lora_only"},
    "rows": {"trainable_token_indices": [1, 40, 41]},
    "head": {"modules_to_save": ["lm_head", "model.norm"]},
    "dora": {"use_dora": True},
    "bias of B": {"lora_bias": True},
    "parameters": {"target_parameters": ["q_proj.weight"], "target_modules": ["v_proj"]},
    "pissa": {"init_lora_weights": "pissa", "convert": False, "size": 1e-3},
    "olora": {"init_lora_weights": "olora", "convert": False, "size": 1e-3},
    "patterns": {"alpha_pattern": {"q_proj": 3}, "rank_pattern": {"v_proj": 2}},
    "one layer": {"layers_to_transform": [1], "layers_pattern": ["layers"]},
}


@pytest.fixture(scope="module", name="base")
def base_with_biases(tmp_path_factory):
    """A base whose linear layers have biases, none of them zero."""
    folder = tmp_path_factory.mktemp("parts") / "base"
    cases.write_base(folder, "llama", attention_bias=True, mlp_bias=True)
    model, draw = cases.load_base(folder), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(generator=draw)
    model.save_pretrained(folder)
    return folder


def parameters(part, change):
    """Change what is in memory under the names that hold ``part``."""

    def mutate(model):
        found = [p for name, p in model.named_parameters() if part in name]
        assert found
        for p in found:
            change(p)

    return mutate


def zero(part):
    return parameters(part, nn.Parameter.zero_)
