"""Models of texts and images: what a made-up input does not reach is not called broken."""

import peft
import pytest
import torch
from adapter_cases import diagnosed
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZE |= {"intermediate_size": 64}
TEXT = SIZE | {"vocab_size": 64, "max_position_embeddings": 32}
IMAGE = SIZE | {"image_size": 16, "patch_size": 8}
WIDTH = {"projection_dim": 16}
CLIP = {"text_config": TEXT | WIDTH, "vision_config": IMAGE | WIDTH} | WIDTH
SIGLIP = {"text_config": TEXT | {"projection_size": 32}, "vision_config": IMAGE}
LLAVA = {
    "text_config": TEXT | {"model_type": "llama", "num_key_value_heads": 2},
    "vision_config": IMAGE | {"model_type": "clip_vision_model"},
    "image_token_index": 63,
}


def write(folder, family, config, kind, **options):
    """A base and an adapter of its attention."""
    model = kind.from_config(AutoConfig.for_model(family, **config))
    model.save_pretrained(folder / "base")
    model = kind.from_pretrained(folder / "base")
    plain = {"r": 4, "target_modules": ["q_proj", "v_proj"]}
    model = peft.get_peft_model(model, peft.LoraConfig(**plain | options))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    model.save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.mark.parametrize(("family", "config"), [("clip", CLIP), ("siglip", SIGLIP)])
def test_two_towers(family, config, tmp_path):
    found = diagnosed(write(tmp_path, family, config, AutoModel))
    assert found.kind == "model" and found.tests[3].figures["layers"] == 8


def test_a_tower_that_no_text_reaches(tmp_path):
    folder = write(tmp_path, "llava", LLAVA, AutoModelForImageTextToText)
    reason = "effect: not judged: the forward pass on made-up input does not go through model.visi"
    diagnosed(folder, None, 2, reason=reason)


def test_the_text_alone(tmp_path):
    options = {"target_modules": r".*language_model.*\.(q|v)_proj"}
    diagnosed(write(tmp_path, "llava", LLAVA, AutoModelForImageTextToText, **options))
