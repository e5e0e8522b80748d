"""The base model: compared weight by weight where it is here, by its name where it is not."""

import json
import shutil

import pytest
import torch
from adapter_cases import diagnosed, edit, load_base, pasted, write_adapter
from safetensors.torch import load_file, save_file

from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.diagnose import merge_adapter


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
    change = "base=<the base that it was trained on>"
    found = diagnosed(folder, other, 1, reason="an adapter of another base", change=change)
    assert found.advice.reason.startswith(f"base: {name} is not the stored base's: they differ by")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_copy_in_another_precision_is_the_same_base(dtype, folder, model_folder, tmp_path):
    copy = copy_of(model_folder, tmp_path / "copy", lambda model: model.to(dtype))
    assert f"names is {model_folder}, compared above" in diagnosed(folder, copy).tests[4].message


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
    found = diagnosed(folder, base, exit_code)
    assert message in found.tests[4].message
    if exit_code:
        assert "analysis=diagnose" in found.advice.change
        assert "base=<its base model>" in found.advice.change


def test_without_a_base_it_is_not_judged(model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", base)
    shutil.rmtree(base)
    change = f"analysis=diagnose adapter={folder} base=<its base model>"
    test, *_ = diagnosed(folder, None, 2, change=change).tests
    assert (test.name, test.passed) == ("embedding difference", None)


def test_a_base_that_holds_the_adapter_is_loaded_without_it(folder, model_folder, tmp_path):
    merged = shutil.copytree(model_folder, tmp_path / "merged")
    merge_adapter(folder, str(model_folder), merged)
    found = diagnosed(folder, merged, 1, reason="it was merged and is applied again")
    assert find_lora_layers(pasted(found.advice.change)["model"]) is None


def test_a_base_that_cannot_be_used_is_named(folder, model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    shapes = "cannot be loaded: its weights have other shapes than its config.json says"
    for damaged, reason in (
        (config | {"hidden_size": "x"}, f"base={base} cannot be loaded: Validation error for field "
         "'hidden_size'"),
        (config | {"vocab_size": 50}, shapes),
        ({"model_type": "t5"}, "133 parameters have no weights that fit, decoder.block"),
    ):  # fmt: skip
        (base / "config.json").write_text(json.dumps(damaged))
        diagnosed(folder, base, 2, reason=reason)
    (base / "config.json").write_text(json.dumps(config))
    weights = {key: torch.nan * x for key, x in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    diagnosed(folder, base, 2, reason="model.embed_tokens.weight holds NaN or infinity")
    shutil.copy(folder / "adapter_config.json", base)
    diagnosed(
        folder,
        base,
        2,
        reason="must hold a model alone, and holds an adapter too (adapter_config.json)",
    )
