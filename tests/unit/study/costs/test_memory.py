"""Computed memory: hand-computed numbers, and what torch keeps for the backward pass of a block."""

from dataclasses import replace

import pytest
import torch

from loradrift.config import ModelConfig
from loradrift.models import load_backbone
from loradrift.study.costs.memory import (
    Shape,
    block_bytes,
    neutral_memory,
    training_flops,
    training_memory,
)

SHAPE = Shape(
    total=1000, trainable=400, depth=2, width=10, inner=20, keys=5, vocabulary=30, tied=True
)


def test_the_parts_are_those_of_mixed_precision_with_adamw():
    # 16 + 12 + 2 bytes of width 10, 4 of width 5, 8 of width 20
    assert block_bytes(SHAPE) == 300 + 20 + 160
    found = training_memory(SHAPE, 3, checkpointing=False)
    assert (found.weights, found.gradients, found.optimizer) == (4000 + 800, 1600, 3200)
    assert found.activations == 2 * 3 * block_bytes(SHAPE)
    assert found.total == 4800 + 1600 + 3200 + found.activations
    again = training_memory(SHAPE, 3, checkpointing=True)
    assert again.activations == 2 * 3 * 4 * 10 + 3 * block_bytes(SHAPE)


def test_devices_share_everything_but_activations_and_a_gathered_block():
    one, eight = (training_memory(SHAPE, 3, checkpointing=True, devices=n) for n in (1, 8))
    assert eight.gradients == one.gradients / 8 and eight.optimizer == one.optimizer / 8
    assert eight.weights == 4000 / 8 + 2 * 4 * 500
    assert eight.activations == one.activations


def test_operations_are_two_for_each_weight_position_and_pass():
    assert SHAPE.multiplied == 700
    assert training_flops(SHAPE, 5, checkpointing=False) == 2 * 5 * (2 * 700 + 400)
    assert training_flops(SHAPE, 5, checkpointing=True) == 2 * 5 * (3 * 700 + 400)
    full = replace(SHAPE, trainable=1000)
    assert training_flops(full, 1, checkpointing=False) == 6 * 700
    assert neutral_memory(SHAPE, 7) == 4000 + 7 * 30 * 10


def test_a_block_keeps_what_torch_keeps(model_folder):
    random = ModelConfig(name="local", path=str(model_folder), weights="random")
    backbone = load_backbone(random, seed=0)
    rows, width = 3, 7
    kept: dict[int, int] = {}

    def keep(x):  # activations alone; a storage once, however many operations keep it
        if x.shape[:2] == (rows, width) or x.shape[:1] == (rows * width,) or x.ndim == 4:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        loss = backbone.encode(torch.zeros(rows, width, dtype=torch.long)).sum()
    assert loss.requires_grad
    form = backbone.causal_lm.config
    wanted = replace(
        SHAPE, width=form.hidden_size, inner=form.intermediate_size, keys=form.hidden_size
    )
    position = 2 * block_bytes(wanted) + 8 * wanted.width  # two blocks, and the last norm
    assert sum(kept.values()) == pytest.approx(rows * width * position, rel=0.05)
