"""The base model: compared weight by weight where it is here, by its name where it is not."""

import shutil

import pytest
import torch
from adapter_cases import edit, load_base, write_adapter

from loradrift.diagnose import diagnose


@pytest.fixture
def adapter(model_folder, tmp_path):
    return write_adapter(tmp_path / "adapter", model_folder)


def copy_of(model_folder, folder, change):
    """A copy of the base model that is changed by ``change(model)``."""
    shutil.copytree(model_folder, folder)
    model = load_base(model_folder)
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    return folder


CHANGES = {
    "model.embed_tokens.weight": lambda m: m.model.embed_tokens.weight.add_(1e-3),
    "model.norm.weight": lambda m: m.model.norm.weight.mul_(1.01),
    "model.layers.1.self_attn.o_proj.weight": lambda m: (
        m.model.layers[1].self_attn.o_proj.weight[0, 0].add_(1e-3)
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_weight_without_an_adapter_is_another(name, adapter, model_folder, tmp_path):
    other = copy_of(model_folder, tmp_path / "other", CHANGES[name])
    found = diagnose(str(adapter), str(other))
    assert found.exit_code == 1
    assert found.advice.reason.startswith(f"base: {name} is not the stored base's: they differ by")
    assert "an adapter of another base" in found.advice.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_copy_in_another_precision_is_the_same_base(dtype, adapter, model_folder, tmp_path):
    copy = copy_of(model_folder, tmp_path / "copy", lambda model: model.to(dtype))
    found = diagnose(str(adapter), str(copy))
    assert found.exit_code == 0, found.advice.reason
    assert f"names is {model_folder}, compared above" in found.tests[4].message


NAMES = {
    "elsewhere/Other-7B": (2, "is called otherwise, and the former is not here to compare"),
    "elsewhere/Base": (0, "names elsewhere/Base, which is not here; base="),
    "": (0, "names no base model: base="),
}


@pytest.mark.parametrize("name", NAMES)
def test_where_the_named_base_is_not_here_its_name_speaks(name, adapter, model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    edit(adapter, base_model_name_or_path=name)
    found = diagnose(str(adapter), str(base))
    exit_code, message = NAMES[name]
    assert found.exit_code == exit_code
    assert message in found.tests[4].message
    if exit_code:
        assert "analysis=diagnose" in found.advice.change
        assert "base=<its base model>" in found.advice.change


def test_a_snapshot_in_the_hubs_cache_is_called_by_its_model(adapter, model_folder, tmp_path):
    snapshot = tmp_path / "hub" / "models--elsewhere--Little" / "snapshots" / "0123abcd"
    shutil.copytree(model_folder, snapshot)
    edit(adapter, base_model_name_or_path="elsewhere/Little")
    assert diagnose(str(adapter), str(snapshot)).exit_code == 0
