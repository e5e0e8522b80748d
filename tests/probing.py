"""A tiny Llama, a probe that can be padded and batched at will, and a disk that is full."""

import errno
import os

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from loradrift.activations import Pooling, Probe, capture_probe
from loradrift.config import LoraConfig
from loradrift.methods import make_trainable
from loradrift.models import Backbone

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


def small_backbone(method: str = "full_finetune") -> Backbone:
    """Two blocks with dropout, 32 wide, trained whole or by LoRA."""
    torch.manual_seed(0)
    size = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, attention_dropout=0.5, max_position_embeddings=64,
        initializer_range=0.2,
    )  # fmt: skip
    backbone = Backbone(LlamaForCausalLM(size))
    if method == "lora":
        lora = LoraConfig(name="lora", rank=4, dropout=0.3, target_modules=["q_proj", "v_proj"])
        make_trainable(backbone, lora, seed=0)
    return backbone


def captured(backbone, probe: Probe, pooling: Pooling | None = None) -> dict[str, torch.Tensor]:
    """Each layer's pooled rows."""
    return capture_probe(backbone, probe, pooling or Pooling(), torch.device("cpu")).layers


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
