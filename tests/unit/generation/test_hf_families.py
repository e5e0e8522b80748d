"""Rows padded on the left, in architectures that count positions in other ways."""

import pytest
import torch
from adapter_cases import load_base, write_base

from loradrift.config import UserError
from loradrift.generation import EngineSettings, Request, Sampling, open_engine

REQUESTS = [Request(str(i), ids) for i, ids in enumerate([(1, 40, 41), (1,), (9, *range(20, 36))])]
EIGHT = Sampling(max_tokens=8)
GPT = {"n_positions": 64, "rotary_dim": 8}
FAMILIES = {
    "gpt2": GPT,
    "gptj": GPT,
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64},
    "mpt": {"max_seq_len": 64},
    "gemma2": {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8},
}


def write(folder, family, **options):
    torch.manual_seed(0)
    return EngineSettings(write_base(folder / family, family, **options), max_length=64)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_rows_of_a_batch_answer_as_alone_without_padding_or_cache(tmp_path, family):
    settings = write(tmp_path, family, **FAMILIES[family])
    model = load_base(settings.model).eval()
    with open_engine("hf", settings) as engine:
        answers = engine.generate(REQUESTS, EIGHT)
        gaps = engine.greedy_gaps(REQUESTS, answers)
    assert max(map(max, gaps)) < 1e-5
    for request, completion in zip(REQUESTS, answers, strict=True):
        text = list(request.prompt_ids)
        for token in completion.token_ids:
            logits = model(input_ids=torch.tensor([text])).logits[0, -1]
            assert logits[token] > logits.max() - 1e-5  # or as good as equal to the likeliest
            text.append(token)


def test_a_model_without_keys_and_values_is_refused(tmp_path):
    refused = pytest.raises(UserError, match="MambaForCausalLM keeps no keys and values")
    with open_engine("hf", write(tmp_path, "mamba")) as engine, refused:
        engine.generate(REQUESTS, EIGHT)
