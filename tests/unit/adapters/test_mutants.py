"""Each way in which a model does not apply an adapter as its files say is caught by its check."""

import shutil

import adapter_cases as cases
import pytest
import torch
from adapter_cases import caught, certificate_of, judged, load_adapter, lora_layers, write_adapter
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import AutoModel

from loradrift.adapters import Fingerprints, certify


def disabled(model):
    model.base_model.disable_adapter_layers()


def another_active(model):
    model.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"]))
    for layer in lora_layers(model):
        layer.set_adapter("other")


def both_active(model):
    another_active(model)
    model.base_model.set_adapter(["default", "other"])


def wrong_scale(model):
    for layer in lora_layers(model):
        layer.scaling["default"] = 8.0


def one_wrong_scale(model):
    lora_layers(model)[-1].scaling["default"] *= 1.05


def stale(model):
    for layer in lora_layers(model):
        layer.lora_B["default"].weight.data.mul_(0.9)


def transposed(model):
    """Which fits a square layer."""
    layer = next(x for x in lora_layers(model) if x.in_features == x.out_features)
    B, A = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    B.data, A.data = A.data.T.contiguous(), B.data.T.contiguous()


def merged_in_place(model):
    model.merge_adapter()


def a_layer_is_passed_by(model):
    """As a kernel does that replaces a layer's forward pass and knows no adapter."""
    layer = lora_layers(model)[0]
    layer.forward = layer.base_layer.forward


def a_layer_is_taken_out(model):
    attention = model.base_model.model.model.layers[0].self_attn
    attention.q_proj = attention.q_proj.base_layer


def output_thrown_away(model):
    layer = lora_layers(model)[0]
    layer.forward = layer.base_layer.__call__


def applied_twice(model):
    layer = lora_layers(model)[0]
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
TOLD = (disabled, another_active, wrong_scale, stale, transposed)
"""Those of which the forward pass alone would have told."""


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_model_in_memory(mutate, folder, model_folder):
    model = load_adapter(folder, model_folder)
    assert certificate_of(model, folder, model_folder).passed
    with torch.no_grad():
        mutate(model)
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, *MUTANTS[mutate])
    if mutate in TOLD:
        assert certificate["effect"].passed is False


class Outer(nn.Module):
    """What sentence-transformers puts around a transformer."""

    def __init__(self, inner):
        super().__init__()
        self.auto_model = inner

    def forward(self, **inputs):
        return self.auto_model(**inputs)


def test_wrapped_around_the_outer_object(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, kind=AutoModel)
    model = PeftModel.from_pretrained(Outer(cases.load_base(model_folder, AutoModel)), folder)
    message = "PEFT wraps Outer, which is no transformer; put it on the transformer inside, auto"
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "placement", message)
    assert certificate["keys"].passed is False
    assert "the adapter belongs to the transformer inside" in certificate["keys"].message


def test_another_base_of_another_or_the_same_shape(folder, model_folder, tmp_path):
    small = cases.write_base(tmp_path / "small base", "llama", hidden_size=16, vocab_size=300)
    model = load_adapter(write_adapter(tmp_path / "small", small), small)
    message = "and the base model has (16, 16) there: an adapter of another base"
    caught(certificate_of(model, folder, small), "base", message)
    base = shutil.copytree(model_folder, tmp_path / "base")
    rewritten = cases.load_base(model_folder)
    with torch.no_grad():
        for p in rewritten.parameters():
            p.add_(0.01 * torch.randn(p.shape))
    rewritten.save_pretrained(base)
    model = load_adapter(folder, base)
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "base", "is not the stored base's: they differ by")
    prints = Fingerprints(recorded="a" * 64, loaded="b" * 64)
    certificate = certificate_of(model, folder, base, prints=prints)
    caught(certificate, "base", "was trained on a base model with digest aaaaaaaaaaaa, and this")


@pytest.mark.parametrize("size", [0.05, 0.5])
def test_merged_and_applied_again(size, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=size)
    merged = load_adapter(folder, model_folder).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    model = load_adapter(folder, tmp_path / "merged")
    message = "already holds 1.000 times the adapter's change: it was merged and is applied again"
    caught(certificate_of(model, folder, model_folder), "merged_once", message)
    if size > 0.1:  # without the unmerged base at hand, a change this large still shows
        message = "6 of 6 base weights, model.layers.0.mlp.down_proj and 5 more, hold their change"
        caught(certificate_of(model, folder, None), "merged_once", message)


def test_a_head_that_is_lost(folder, model_folder, tmp_path):
    headed = write_adapter(tmp_path / "headed", model_folder, **cases.CLASSIFIER)
    model = load_adapter(headed, model_folder, cases.CLASSIFIER["kind"], pad_token_id=3)
    saved = cases.tensors_of(headed)
    cases.rewrite(headed, cases.without("score"))
    message = "the head is lost: adapter_model.safetensors holds none of modules_to_save="
    caught(certificate_of(model, headed, model_folder), "head", message)
    cases.rewrite(headed, lambda _: {k: 2 * x if "score" in k else x for k, x in saved.items()})
    message = "score.weight in memory is not the file's: they differ by 0.5"
    caught(certificate_of(model, headed, model_folder), "head", message)
    run, head = load_adapter(folder, model_folder), nn.Linear(32, 2).state_dict()
    message = "has lost head.safetensors: the task's head would be random"
    caught(certificate_of(run, folder, model_folder, head=head), "head", message)


def test_no_adapter_in_the_model_or_in_the_forward_pass(folder, model_folder):
    model, other = load_adapter(folder, model_folder), cases.load_base(model_folder)
    names, folders = {"default": 1.0}, {"default": folder}
    certificate = certify(model, names, folders, lambda: cases.forward(other), base=model_folder)
    caught(certificate, "effect", "does not go through model.layers.0.mlp.down_proj and 5 more")
    certificate = certificate_of(other, folder, model_folder)
    caught(certificate, "placement", "LlamaForCausalLM holds no LoRA layer")


def test_a_start_that_comes_not_back(folder, model_folder, tmp_path):
    start = {"init_lora_weights": "pissa_niter_4", "convert": False}
    drawn = judged(write_adapter(tmp_path / "drawn", model_folder, **start), model_folder)
    caught(drawn, "base", "init_lora_weights=pissa_niter_4 draws at random what it takes out")
    cases.edit(folder, init_lora_weights="pissa")  # claimed in the JSON alone
    caught(judged(folder, model_folder), "base", "is not the stored base's")


@pytest.mark.parametrize("key", ["foo", "lm_head.foo.weight"])
def test_a_key_that_belongs_to_no_module(key, folder, model_folder):
    cases.rewrite(folder, lambda tensors: tensors | {key: torch.ones(3)})
    message = "1 of 7 modules in adapter_model.safetensors are not in the model"
    caught(judged(folder, model_folder), "keys", message)
