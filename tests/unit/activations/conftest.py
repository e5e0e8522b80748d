"""A tiny Llama, a probe that can be padded and batched at will, and a store to write to."""

import threading

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from loradrift.activations import ActivationStore, Pooling, Probe, store

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
    """The smallest encoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = LlamaForCausalLM(
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

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.model.layers

    def encode(self, input_ids: Tensor) -> Tensor:
        return self.model.model(input_ids).last_hidden_state


@pytest.fixture
def backbone() -> Backbone:
    return Backbone().train()


@pytest.fixture
def probe() -> Probe:
    return make_probe()


@pytest.fixture(name="make_probe")
def _make_probe():
    return make_probe


@pytest.fixture
def layers():
    """Gives two layers of five rows."""

    def random(seed=0):
        generator = torch.Generator().manual_seed(seed)
        return {f"layer_{i}": torch.randn(5, 8, generator=generator) for i in range(2)}

    return random


@pytest.fixture
def root(tmp_path):
    return tmp_path / "activations"


@pytest.fixture
def open_store(root, probe):
    """Opens the store for writing, as a training run does."""

    def prepared(**arguments):
        opened = ActivationStore(root, **arguments)
        opened.prepare(probe, Pooling(), ["layer_0", "layer_1"])
        return opened

    return prepared


@pytest.fixture
def gate(monkeypatch):
    """The writing thread stops in front of this."""
    event, save = threading.Event(), store.save
    monkeypatch.setattr(store, "save", lambda tensors: event.wait(10) and save(tensors))
    yield event
    event.set()
