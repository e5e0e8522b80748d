"""A small model's adapters on disk, and pairs that its tokenizer knows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

PAIRS = """text1,text2,label
the film was great,the film was terrible,0
no,yes,0
the film,the film was great and the film was terrible and no,1
yes the film was great,yes the film was great,1
"""


@pytest.fixture
def pairs_file(tmp_path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS)
    return path


@pytest.fixture
def adapter(model_folder, tmp_path) -> Callable[..., Path]:
    """``adapter(moved=False)``: a LoRA adapter as PEFT writes it; its B is zero unless moved."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    def save(*, moved: bool = True, inner: bool = False, name: str = "adapter", **options) -> Path:
        loader = AutoModel if inner else AutoModelForCausalLM
        targets = {"target_modules": ["q_proj", "v_proj"]} | options
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = get_peft_model(
                loader.from_pretrained(model_folder), LoraConfig(r=4, lora_alpha=8, **targets)
            )
        draw = torch.Generator().manual_seed(1)
        for key, parameter in sorted(model.named_parameters()):
            if moved and ("lora_B" in key or "lora_embedding_A" in key):  # zero at the start
                parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save
