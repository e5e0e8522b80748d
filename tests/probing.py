"""A tiny Llama, a probe that can be padded and batched at will, and a disk that is full."""

import errno
import os

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from loradrift.activations import Probe

# Every row starts with a special token, 1, and all but the last row end with another, 2.
ROWS = {
    "a": [1, 17, 5, 40, 2],
    "b": [1, 9, 2],
    "c": [1, 33, 33, 8, 21, 60, 2],
    "d": [1, 4, 2],
    "e": [1, 50, 51, 52],
}


def make_probe(
    rows: dict[str, list[int]] = ROWS,
    batch_size: int = 2,
    padding: int = 0,
    content: tuple[int, ...] = tuple(range(3, 64)),
) -> Probe:
    """Tokenised rows; each batch is ``padding`` columns wider than its longest row."""
    tokens = list(rows.values())
    batches = []
    for start in range(0, len(tokens), batch_size):
        part = tokens[start : start + batch_size]
        width = max(map(len, part)) + padding
        ids = torch.tensor([row + [0] * (width - len(row)) for row in part])
        real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in part])
        mask = torch.isin(ids, torch.tensor(content))
        batches.append({"input_ids": ids, "attention_mask": real, "content_mask": mask})
    return Probe(tuple(rows), tuple(batches))


class Backbone(nn.Module):
    """The smallest encoder: two blocks with dropout, trained whole or by LoRA."""

    def __init__(self, method: str = "full_finetune") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.llama = LlamaModel(
            LlamaConfig(
                vocab_size=64,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                attention_dropout=0.5,
                max_position_embeddings=64,
                initializer_range=0.2,
            )
        )
        if method == "lora":
            lora = LoraConfig(r=4, lora_dropout=0.3, target_modules=["q_proj", "v_proj"])
            get_peft_model(self.llama, lora)  # in place

    @property
    def blocks(self) -> nn.ModuleList:
        return self.llama.layers

    def encode(self, input_ids: Tensor) -> Tensor:
        return self.llama(input_ids, use_cache=False).last_hidden_state


def state_of(backbone):
    """All that a measurement might leave changed, but for the weights."""
    return (
        [module.training for module in backbone.modules()],
        [len(module._forward_hooks) for module in backbone.modules()],
        [p.grad is None and p.requires_grad for p in backbone.parameters()],
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
    )


def fill_disk(monkeypatch, after: int = 0) -> None:
    """Let ``after`` more files reach the disk, which is full then."""
    left, fsync = iter(range(after)), os.fsync

    def failing(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


def assert_equal(rows, expected) -> None:
    torch.testing.assert_close(rows, expected, rtol=0, atol=0)
