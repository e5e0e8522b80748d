"""A PEFT adapter of one module, with few numbers and without a model."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

MODULE = "layers.0.self_attn.q_proj"


def write_adapter(folder: Path, **config) -> None:
    """A PEFT adapter of one module, whose change has norm 10."""
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 2} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    factors = {"A": torch.ones(1, 1), "B": torch.tensor([[3.0], [4.0]])}
    names = {part: f"base_model.model.{MODULE}.lora_{part}.weight" for part in factors}
    tensors = {names[part]: factor for part, factor in factors.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
