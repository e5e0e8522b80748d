"""LoRA on the encoder of a soft prompt, through PEFT."""

import hashlib

import torch
from torch import nn

from loradrift.config import LoraConfig, UserError, check
from loradrift.models.soft_prompt.head import SoftPromptHead

ENCODER = "encoder"
"""PEFT's name of the adapter, and of its folder below ``model/``."""


def adapt_encoder(head: SoftPromptHead, method: LoraConfig, *, seed: int) -> None:
    """Freeze the encoder and put LoRA on its linear layers, in place, with weights of ``seed``.

    Raises:
        UserError: If the rank is too large, or the first weights change those below them.
    """
    import peft

    if method.init == "pissa":
        raise UserError(
            "method.init=pissa takes its first weights out of those below it, which task.adapt="
            "encoder and both do not export"
        )
    linear = {name: x for name, x in head.encoder.named_modules() if isinstance(x, nn.Linear)}
    largest = max(min(layer.weight.shape) for layer in linear.values())
    rule = f"at most {largest}, the rank of the encoder's largest linear layer"
    check(method.rank <= largest, "method.rank", rule, method.rank)
    config = peft.LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=list(linear),
        use_rslora=method.rslora,
        use_dora=method.dora,
        init_lora_weights={"default": True}.get(method.init, method.init),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head.encoder = peft.get_peft_model(head.encoder, config, adapter_name=ENCODER)
    head.frozen = frozen_digest(head)


def is_adapted(head: nn.Module | None) -> bool:
    """Whether its encoder has LoRA."""
    return isinstance(head, SoftPromptHead) and hasattr(head.encoder, "peft_config")


def frozen_digest(head: SoftPromptHead) -> str:
    """sha256 of the encoder's weights below its LoRA."""
    digest = hashlib.sha256()
    for name, value in sorted(head.encoder.named_parameters()):
        if not value.requires_grad:
            digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
