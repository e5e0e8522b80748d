"""A probe of three rows, and a dump of it."""

import pytest
from dumping import CountingStore
from probing import make_probe

from loradrift.activations import Pooling
from loradrift.callbacks.activation_dump import ActivationDump


@pytest.fixture
def probe():
    return make_probe({"a": [1, 5, 6, 7], "b": [1, 9], "c": [1, 30, 31]})


@pytest.fixture
def root(tmp_path):
    return tmp_path / "activations"


@pytest.fixture
def dump(root, probe):
    """A callback that writes every second step."""
    return ActivationDump(CountingStore(root), probe, 2, Pooling())
