"""A tiny Llama with its probe, and a store to write to."""

import threading

import pytest
import torch
from probing import make_probe, small_backbone

from loradrift.activations import ActivationStore, Pooling, store


@pytest.fixture
def backbone():
    return small_backbone()


@pytest.fixture
def probe():
    return make_probe()


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
def stored(open_store, layers):
    """A closed store that holds step 0."""
    with open_store() as written:
        written.write(0, layers())
    return written


@pytest.fixture
def gate(monkeypatch):
    """The writing thread stops in front of this."""
    event, save = threading.Event(), store.save
    monkeypatch.setattr(store, "save", lambda tensors: event.wait(10) and save(tensors))
    yield event
    event.set()
