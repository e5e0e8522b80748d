"""What is read from files is what PEFT merges, and what full fine-tuning moved."""

import shutil

import numpy as np
import pytest
import torch
from changes import dense

from loradrift.adapters import read_adapter
from loradrift.config import UserError
from loradrift.weights import Dora, LowRank, StoredWeights, read_change, read_full

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PATTERNS = {
    "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 5, r"^model\.layers\.0.+v_proj": 3},
    "alpha_pattern": {"layers.1.mlp.up_proj": 7, "mlp.*": 11},
}


METHODS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "dora": {"use_dora": True},
    "patterns": PATTERNS,
    "rslora patterns": {"use_rslora": True, **PATTERNS},
    "dora patterns": {"use_dora": True, **PATTERNS},
}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS)
def test_an_adapter_is_what_peft_merges(saved, base, options):
    folder, expected = saved(**options)
    changes = read_adapter(folder, base)
    assert changes.keys() == expected.keys() and len(expected) == 14
    for module, change in changes.items():
        assert isinstance(change, Dora if "use_dora" in options else LowRank)
        found = dense(read_change(change))
        np.testing.assert_allclose(found, expected[module], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_converted_pissa_adapter_is_the_change_of_the_unchanged_base(saved, base, rslora):
    folder, expected = saved(init_lora_weights="pissa", use_rslora=rslora)
    changes = read_adapter(folder, base)
    assert {change.rank for change in changes.values()} == {8}
    assert changes.keys() == expected.keys()
    for module, change in changes.items():
        np.testing.assert_allclose(dense(change), expected[module], rtol=1e-4, atol=1e-6)


def test_an_adapter_needs_no_base_weights_and_both_kinds_name_modules_alike(adapter, base):
    alone, checked = read_adapter(adapter), read_adapter(adapter, base)
    assert alone.keys() == checked.keys() < read_full(base, base).modules.keys()


@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_full_fine_tuning_is_the_difference_of_two_folders(load_base, base, tmp_path, shard_size):
    model = load_base()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1e-3 * torch.randn(p.shape, generator=draw))
    model.float().save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "20KB")
    before, after = load_base().state_dict(), model.state_dict()
    change = read_full(base, StoredWeights(tmp_path))
    parts = [f"self_attn.{name}" for name in LINEAR[:4]] + [f"mlp.{name}" for name in LINEAR[4:]]
    layers = {f"model.layers.{i}.{part}" for i in (0, 1) for part in parts}
    assert change.modules.keys() == {*layers, "lm_head"}
    found = {f"{name}.weight": x for name, x in change.modules.items()} | change.others
    assert found.keys() == before.keys()
    for key, x in found.items():
        assert torch.equal(x.read(), after[key].double() - before[key])


def test_values_are_read_when_asked_for(base_folder, base, tmp_path):
    tuned = shutil.copytree(base_folder, tmp_path / "tuned")
    change = read_full(base, StoredWeights(tuned))
    (tuned / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"tuned/model\.safetensors cannot be read"):
        change.modules["lm_head"].read()
