"""Several adapters are judged together, each with its scale; what is wrong names the adapter."""

import pytest
import torch
from adapter_cases import caught, forward, load_base, lora_layers, rewrite, write_adapter, zero_b
from peft import PeftModel

from loradrift.adapters import certify

SCALES = {"trait": 1.0, "style": 0.5}


def load_both(folders, base, scales):
    """A model with two adapters, weighed as PEFT's active adapters are."""
    (first, own), (second, other) = folders.items()
    model = PeftModel.from_pretrained(load_base(base), own, first)
    model.load_adapter(other, second)
    model.base_model.set_adapter(list(scales))
    for layer in lora_layers(model):
        for adapter, scale in scales.items():
            layer.set_scale(adapter, scale)
    return model


@pytest.fixture(scope="module")
def folders(model_folder, tmp_path_factory):
    """Two adapters of other modules, ranks and draws, which share ``q_proj`` and ``v_proj``."""
    tmp_path = tmp_path_factory.mktemp("several")
    other = {"r": 2, "target_modules": ["q_proj", "v_proj", "up_proj"], "use_rslora": True}
    folders = {
        "trait": write_adapter(tmp_path / "trait", model_folder),
        "style": write_adapter(tmp_path / "style", model_folder, **other),
    }
    rewrite(folders["style"], lambda ts: {key: x.flip(0) for key, x in ts.items()})
    return folders


@pytest.fixture
def judge(folders, model_folder):
    """``judge(mutate)``: the certificate of a model with both, after it was spoiled."""

    def certificate(mutate=None, scales=SCALES, claimed=SCALES):
        model = certificate.model = load_both(folders, model_folder, scales)
        with torch.no_grad():
            if mutate:
                mutate(model)
        return certify(model, claimed, folders, lambda: forward(model), base=model_folder)

    return certificate


@pytest.mark.parametrize("scales", [SCALES, {"trait": 1.0, "style": -1.0}])
def test_both_pass_with_their_scales(scales, judge, model_folder):
    certificate = judge(scales=scales, claimed=scales)
    assert certificate.passed, certificate.verdict
    assert certificate["effect"].figures["layers"] == 8
    with torch.no_grad():
        off, on = forward(load_base(model_folder)), forward(judge.model)
    change = float((on - off).norm() / off.norm())
    assert certificate["effect"].figures["output_change"] == pytest.approx(change, rel=1e-4)
    assert f"style: {scales['style']:g} times alpha/sqrt(r) = " in certificate["scale"].message
    assert set(certificate.files) == {
        f"{name}/adapter_{file}" for name in scales for file in ("config.json", "model.safetensors")
    }


def a_layer_leaves_one_out(model):
    layer = next(x for x in lora_layers(model) if {"trait", "style"} <= set(x.lora_A))
    apply = layer.forward

    def without(x):
        own = layer.lora_B["style"](layer.lora_A["style"](x)) * layer.scaling["style"]
        return apply(x) - own

    layer.forward = without


def one_was_merged_before(model):
    """Into the base weights, as in a model that was saved merged."""
    for layer in lora_layers(model):
        if "style" in layer.lora_A:
            layer.get_base_layer().weight += layer.get_delta_weight("style") / 0.5


@pytest.mark.parametrize(
    ("mutate", "name", "message"),
    [
        (lambda model: model.base_model.set_adapter("trait"),
         "active", "style: style is not the active adapter in 6 layers"),
        (a_layer_leaves_one_out,
         "effect", "style: model.layers.0.self_attn.q_proj changes its output"),
        (lambda model: model.base_model.merge_adapter(["style"]),
         "merged_once", "6 layers hold style merged into their weights"),
        (one_was_merged_before,
         "merged_once", "style: the base weight of model.layers.0.mlp.up_proj"),
        (lambda model: model.delete_adapter("style"),
         "placement", "style: PeftModel holds no LoRA layer"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_adapter(mutate, name, message, judge):
    caught(judge(mutate), name, message)


def test_a_scale_that_was_not_set_and_an_adapter_not_asked_about_are_named(judge):
    verdict = judge(claimed={"trait": 1.0}).verdict
    assert verdict == "active: beside trait also active: style"
    verdict = judge(claimed={"trait": 1.0, "style": 1.0}).verdict
    assert verdict.startswith("scale: style: ") and "alpha/sqrt(r)" in verdict
    certificate = judge(scales={"trait": 1.0, "style": 1.0})
    assert certificate.verdict.startswith("scale: style: ")
    assert "and 0.5 times alpha/sqrt(r) of adapter_config.json is" in certificate.verdict
    assert certificate["effect"].passed is False  # the forward pass alone would have told
    assert "style: " in certificate["effect"].message


def test_one_adapter_whose_b_is_zero(model_folder, folders, tmp_path):
    zero = write_adapter(tmp_path / "zero", model_folder)
    zero_b(zero)
    both, scales = {"trait": folders["trait"], "zero": zero}, {"trait": 1.0, "zero": 1.0}
    model = load_both(both, model_folder, scales)
    certificate = certify(model, scales, both, lambda: forward(model), base=model_folder)
    assert certificate.verdict.startswith("lora_B: zero: B is zero in 6 of 6 modules")
    assert certificate["effect"].passed is True  # the other one adds what it should
