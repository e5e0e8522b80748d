"""A tiny Llama on disk in float64, so that PEFT's own merge is exact, and shapes that differ."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """Two layers, 32 wide, with square, tall and wide weights and its own output head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).double().save_pretrained(folder)
    return folder


@pytest.fixture
def load_base(base_folder) -> Callable:
    """A fresh model from ``base_folder``."""
    from transformers import LlamaForCausalLM

    return lambda: LlamaForCausalLM.from_pretrained(base_folder, dtype=torch.float64)
