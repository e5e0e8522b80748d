"""Stored weights are found by name, whichever object around them they were saved from."""

import pytest
import torch
from safetensors.torch import save_file

from loradrift.adapters.base_checks import alike, open_stored, reader

NAMES = ("norm.weight", "layers.0.norm.weight", "layers.1.norm.weight")


@pytest.mark.parametrize("saved_in", ["", "model."])
@pytest.mark.parametrize("sought_in", ["", "model."])
def test_the_nearest_name_is_read(saved_in, sought_in, tmp_path):
    weights = {f"{saved_in}{name}": torch.full((2,), float(i)) for i, name in enumerate(NAMES)}
    save_file(weights, tmp_path / "model.safetensors")
    read = reader(open_stored(tmp_path))
    assert [read(f"{sought_in}{name}")[0].item() for name in NAMES] == [0, 1, 2]
    assert read("head.bias") is None


def test_a_weight_is_alike_in_any_precision_but_not_beside_it():
    draw = torch.Generator().manual_seed(0)
    stored = torch.randn(64, generator=draw, dtype=torch.float64)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        copy = stored.to(dtype)
        assert alike(copy, stored) and alike(copy.float(), stored)
        assert not alike(copy.float() * (1 + 1e-6), stored)
