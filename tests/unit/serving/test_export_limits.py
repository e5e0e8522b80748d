"""What vLLM does not take beside other adapters is exported merged alone, with the reason."""

import re

import pytest
import torch
from adapter_cases import load_adapter, load_base, write_adapter, write_base
from export_cases import logits

from loradrift.serving.export import export

MERGED_ALONE = {
    "dora": ({"use_dora": True}, "it is DoRA"),
    "bias": ({"bias": "all"}, "trained biases .bias=all."),
    "saved": ({"modules_to_save": ["lm_head"]}, "saved modules .modules_to_save=lm_head."),
    "rows": ({"trainable_token_indices": [5, 6]}, "adapters with trainable_token_indices"),
    "rank 600": ({"r": 600}, "its rank 600 is above 512, the largest that vLLM serves"),
}


@pytest.mark.parametrize("kind", MERGED_ALONE)
def test_what_vllm_does_not_take_is_merged_and_said_so(kind, model_folder, tmp_path):
    config, why = MERGED_ALONE[kind]
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.2, **config)
    found = export(folder, tmp_path / "out")
    wanted = logits(load_adapter(folder, model_folder))
    torch.testing.assert_close(logits(load_base(found.merged)), wanted, rtol=0, atol=2e-5)
    assert found.adapter is None and not (tmp_path / "out" / "adapter").exists()
    assert re.search(why, " ".join(found.notices))


def test_an_embedding_that_vllm_does_not_adapt_is_merged_and_said_so(tmp_path):
    base = write_base(tmp_path / "base", "mistral", num_key_value_heads=2)
    targets = ["embed_tokens", "q_proj"]
    folder = write_adapter(tmp_path / "adapter", base, size=0.2, target_modules=targets)
    found = export(folder, tmp_path / "out")
    assert found.adapter is None
    said = "vLLM does not serve factors of embed_tokens with MistralForCausalLM."
    assert said in " ".join(found.notices)
