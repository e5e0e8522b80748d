"""Weights that a model keeps as inputs by outputs (GPT-2's), or without its own prefix."""

import json

import adapter_cases as cases
import numpy as np
import pytest
import torch
from adapter_cases import load_adapter, write_adapter
from changes import dense, merged_change
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from loradrift.adapters import read_adapter
from loradrift.weights import StoredWeights, read_change, read_full
from loradrift.weights.stored import CONV1D as CONV1D_FAMILIES

CONV1D = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True, "size": 0.1}


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"fan_in_fan_out": False}])
def test_what_conv1d_keeps_transposed_is_read_as_outputs_by_inputs(options, tmp_path):
    """GPT-2's; one of the layers is square, so that no shape tells."""
    base = cases.write_base(tmp_path / "base", "gpt2", dtype="float64", n_inner=48)
    folder = write_adapter(tmp_path / "adapter", base, **CONV1D | options)
    stored, expected = StoredWeights(base), merged_change(folder, base)
    assert {tuple(x.shape) for x in expected.values()} == {(32, 96), (32, 32), (32, 48), (48, 32)}
    for changes in (read_adapter(folder, stored), {} if options else read_adapter(folder)):
        for module, change in changes.items():
            found = dense(read_change(change))
            np.testing.assert_allclose(found, expected[module].T, rtol=1e-6, atol=1e-8)
    load_adapter(folder, base).merge_and_unload().save_pretrained(tmp_path / "tuned")
    full = read_full(stored, StoredWeights(tmp_path / "tuned"))
    for module, change in expected.items():
        torch.testing.assert_close(full.modules[module].read(), change.T.double())
    assert not any(change.read().any() for change in full.others.values())


@pytest.mark.parametrize("dora", [False, True])
def test_a_hubs_weights_may_lack_the_prefix_of_the_model(dora, tmp_path):
    """As GPT-2's own, which begin with ``h.``; both arms then name modules as the base does."""
    base = cases.write_base(tmp_path / "base", "gpt2", dtype="float64")
    folder = write_adapter(tmp_path / "adapter", base, **CONV1D, use_dora=dora)
    expected = merged_change(folder, base)
    load_adapter(folder, base).merge_and_unload().save_pretrained(tmp_path / "tuned")
    bare = load_file(base / "model.safetensors")
    bare = {key.removeprefix("transformer."): x for key, x in bare.items()}
    save_file(bare, base / "model.safetensors", metadata={"format": "pt"})
    stored = StoredWeights(base)
    changes = read_adapter(folder, stored)
    full = read_full(stored, StoredWeights(tmp_path / "tuned")).modules
    assert changes.keys() == {key.removeprefix("transformer.") for key in expected} <= full.keys()
    for module, change in changes.items():
        truth = expected[f"transformer.{module}"].T
        np.testing.assert_allclose(dense(read_change(change)), truth, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(full[module].read(), truth, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("family", CONV1D_FAMILIES)
def test_the_layers_that_keep_their_weights_transposed_are_known_by_name(family, tmp_path):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(family))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    stored = StoredWeights(tmp_path)
    for name, module in model.named_modules():
        conv1d = type(module).__name__ == "Conv1D"
        assert stored.keeps_transposed(f"{name}.weight") == conv1d, name
