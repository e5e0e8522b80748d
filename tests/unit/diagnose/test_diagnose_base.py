"""The base model: compared weight by weight where it is here, by its name where it is not."""

import shutil

import pytest
import torch
from adapter_cases import edit, load_base

from loradrift.diagnose import diagnose


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
    "the weight below model.layers.0.mlp.down_proj": lambda m: [
        x.mul_(1.1) for x in m.parameters()
    ],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_weight_is_another(name, folder, model_folder, tmp_path):
    other = copy_of(model_folder, tmp_path / "other", CHANGES[name])
    found = diagnose(str(folder), str(other))
    assert found.exit_code == 1
    assert found.advice.reason.startswith(f"base: {name} is not the stored base's: they differ by")
    assert "an adapter of another base" in found.advice.reason
    assert "base=<the base that it was trained on>" in found.advice.change


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_copy_in_another_precision_is_the_same_base(dtype, folder, model_folder, tmp_path):
    copy = copy_of(model_folder, tmp_path / "copy", lambda model: model.to(dtype))
    found = diagnose(str(folder), str(copy))
    assert found.exit_code == 0, found.advice.reason
    assert f"names is {model_folder}, compared above" in found.tests[4].message


CACHED = "hub/models--elsewhere--Little/snapshots/0123abcd"
NAMES = {
    "elsewhere/Other-7B": ("base", 2, "is called otherwise, and the former is not here to compare"),
    "elsewhere/Base": ("base", 0, "names elsewhere/Base, which is not here; base="),
    "elsewhere/Little": (CACHED, 0, "names elsewhere/Little, which is not here; base="),
    "": ("base", 0, "names no base model: base="),
}


@pytest.mark.parametrize("name", NAMES)
def test_where_the_named_base_is_not_here_its_name_speaks(
    name, folder, model_folder, tmp_path, monkeypatch
):
    """A model that happens to lie in the current folder is not taken for it."""
    place, exit_code, message = NAMES[name]
    monkeypatch.chdir(copy_of(model_folder, tmp_path / "here", lambda m: m.lm_head.weight.zero_()))
    base = shutil.copytree(model_folder, tmp_path / place)
    edit(folder, base_model_name_or_path=name)
    found = diagnose(str(folder), str(base))
    assert found.exit_code == exit_code
    assert message in found.tests[4].message
    if exit_code:
        assert "analysis=diagnose" in found.advice.change
        assert "base=<its base model>" in found.advice.change
