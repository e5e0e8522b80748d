"""An adapter whose files are whole, and which a model in memory does not apply as they say."""

import pytest
import torch
from adapter_cases import certificate_of, load_adapter, write_adapter


def layers(model):
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def disabled(model):
    model.base_model.disable_adapter_layers()


def another_active(model):
    from peft import LoraConfig

    model.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"]))
    for layer in layers(model):
        layer.set_adapter("other")


def both_active(model):
    another_active(model)
    model.base_model.set_adapter(["default", "other"])


def wrong_scale(model):
    for layer in layers(model):
        layer.scaling["default"] = 8.0


def one_wrong_scale(model):
    layers(model)[-1].scaling["default"] *= 1.05


def stale(model):
    for layer in layers(model):
        layer.lora_B["default"].weight.data.mul_(0.9)


def transposed(model):
    """Which fits a square layer."""
    layer = next(x for x in layers(model) if x.in_features == x.out_features)
    B, A = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    B.data, A.data = A.data.T.contiguous(), B.data.T.contiguous()


def merged_in_place(model):
    model.merge_adapter()


def a_layer_is_passed_by(model):
    """As a kernel does that replaces a layer's forward pass and knows no adapter."""
    layer = layers(model)[0]
    layer.forward = layer.base_layer.forward


def a_layer_is_taken_out(model):
    attention = model.base_model.model.model.layers[0].self_attn
    attention.q_proj = attention.q_proj.base_layer


def output_thrown_away(model):
    layer = layers(model)[0]
    layer.forward = layer.base_layer.__call__


def applied_twice(model):
    layer = layers(model)[0]
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x) - layer.base_layer(x)


MUTANTS = {
    disabled: ("active", "the adapters are disabled in 6 of 6 layers: call enable_adapter_layers"),
    another_active: ("active", "default is not the active adapter in 6 layers: active is other"),
    both_active: ("active", "beside default also active: other"),
    wrong_scale: ("scale", "q_proj multiplies with 8, and alpha/r of adapter_config.json is 2"),
    one_wrong_scale: ("scale", "multiplies with 2.1, and alpha/r of adapter_config.json is 2"),
    stale: ("weights", "in memory is not that of adapter_model.safetensors: they differ by 0.1"),
    transposed: ("weights", "q_proj in memory is not that of adapter_model.safetensors"),
    merged_in_place: ("merged_once", "6 layers hold default merged into their weights"),
    a_layer_is_taken_out: ("keys", "1 of 6 modules of adapter_model.safetensors are in the model"),
    a_layer_is_passed_by: ("effect", "the forward pass does not go through model.layers.0"),
    output_thrown_away: ("effect", "q_proj changes its output by 0.000 times what scale * B A x"),
    applied_twice: ("effect", "q_proj changes its output by 2.000 times what scale * B A x of"),
}


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_mutant(mutate, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    model = load_adapter(folder, model_folder)
    assert certificate_of(model, folder, model_folder).passed
    with torch.no_grad():
        mutate(model)
    certificate = certificate_of(model, folder, model_folder)
    name, message = MUTANTS[mutate]
    assert certificate[name].passed is False
    assert message in certificate[name].message, certificate[name].message
    assert certificate.verdict.startswith(f"{name}: "), certificate.verdict


@pytest.mark.parametrize("mutate", [disabled, another_active, wrong_scale, stale, transposed])
def test_the_forward_pass_alone_would_have_told(mutate, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    model = load_adapter(folder, model_folder)
    with torch.no_grad():
        mutate(model)
    assert certificate_of(model, folder, model_folder)["effect"].passed is False
