"""A probe of three rows, and a dump of it."""

import pytest
import torch
from dumping import CountingStore

from loradrift.activations import Pooling, Probe
from loradrift.callbacks.activation_dump import ActivationDump


@pytest.fixture
def probe():
    ids = torch.tensor([[1, 5, 6, 7], [1, 9, 0, 0], [1, 30, 31, 0]])
    return Probe(
        ("a", "b", "c"),
        tuple(
            {"input_ids": part, "attention_mask": (part > 0).long(), "content_mask": part > 1}
            for part in ids.split(2)
        ),
    )


@pytest.fixture
def root(tmp_path):
    return tmp_path / "activations"


@pytest.fixture
def dump(root, probe):
    """A callback that writes every second step."""
    return ActivationDump(CountingStore(root), probe, 2, Pooling())
