"""A base that is another one by its other weights, its configuration, or a change it holds."""

import json
import shutil

import adapter_cases as cases
import pytest
import torch
from adapter_cases import caught, certificate_of, judged, load_adapter, write_adapter
from peft import PeftModel
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def copy_of(base, folder, change):
    """A copy of a model with other weights of the same names."""
    shutil.copytree(base, folder)
    tensors = {name: x.clone() for name, x in load_file(folder / WEIGHTS).items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def permuted(tensors):
    name = "model.embed_tokens.weight"
    tensors[name] = tensors[name].roll(1, dims=0)


ROWS = {
    "of an embedding": {"trainable_token_indices": [1, 2]},
    "of two": {"trainable_token_indices": {"embed_tokens": [1], "lm_head": [2]}},
}


@pytest.mark.parametrize("config", ROWS.values(), ids=ROWS)
def test_rows_permuted_below_what_trained(config, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    model = load_adapter(folder, copy_of(model_folder, tmp_path / "other", permuted))
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "base", "model.embed_tokens")
    assert "is not the stored base's: they differ by" in certificate.verdict


SETTINGS = {
    "rms_norm_eps": {"rms_norm_eps": 0.5},
    "rope_parameters": {"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}},
    "hidden_act": {"hidden_act": "gelu"},
    "is_causal": {"is_causal": False},
    "model_type": {"model_type": "mistral", "sliding_window": 2},
    "head_dim": {"head_dim": 8, "num_attention_heads": 4, "num_key_value_heads": 4},
}
HARMLESS = {
    "attention_dropout": 0.1, "use_cache": False, "pad_token_id": 3, "initializer_range": 1.0,
    "max_position_embeddings": 4096, "transformers_version": "4.0.0", "dtype": "bfloat16",
    "id2label": {"0": "no", "1": "yes"}, "eos_token_id": 5, "licence": "unknown to transformers",
}  # fmt: skip


def with_settings(base, folder, **settings):
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("key", SETTINGS)
def test_the_same_weights_under_another_configuration(key, folder, model_folder, tmp_path):
    other = with_settings(model_folder, tmp_path / "other", **SETTINGS[key])
    outputs = [cases.forward(cases.load_base(each)) for each in (model_folder, other)]
    assert not torch.allclose(*outputs)
    certificate = certificate_of(load_adapter(folder, other), folder, model_folder)
    caught(certificate, "base", f"its configuration has {key}=")
    assert "another base under the same weights" in certificate.verdict


def test_settings_that_change_no_output_are_no_other_base(folder, model_folder, tmp_path):
    other = with_settings(model_folder, tmp_path / "other", **HARMLESS)
    plain = {"dtype": torch.float32}
    outputs = [cases.forward(cases.load_base(each, **plain)) for each in (model_folder, other)]
    assert torch.equal(*outputs)
    model = load_adapter(folder, other, **plain)
    assert certificate_of(model, folder, model_folder).passed


def merged(folder, base, out, *, times=1, modules="", dtype=None):
    """The base with the adapter merged into it, in the layers whose names hold ``modules``."""
    for _ in range(times):
        model = PeftModel.from_pretrained(cases.load_base(base), folder)
        for name, layer in model.named_modules():
            if hasattr(layer, "merged_adapters") and modules in name:
                layer.merge()
        state = model.base_model.model.state_dict()
        kept = {k.replace(".base_layer", ""): x for k, x in state.items() if ".lora_" not in k}
        plain = cases.load_base(base)
        plain.load_state_dict(kept)
        plain.to(dtype or torch.float32).save_pretrained(out)
        base = out
    return out


HELD = {
    "once": ({}, {}),
    "twice": ({}, {"times": 2}),
    "in half of the layers": ({}, {"modules": "layers.1."}),
    "in one kind of layer": ({}, {"modules": "q_proj"}),
    "in half precision": ({}, {"dtype": torch.bfloat16}),
    "rslora": ({"use_rslora": True}, {}),
    "dora": ({"use_dora": True}, {}),
    "dora twice": ({"use_dora": True}, {"times": 2}),
    "dora in half of the layers": ({"use_dora": True}, {"modules": "layers.1."}),
    "with a bias": ({"lora_bias": True}, {}),
}


TWICE = {
    0.05: ("base", "is not the stored base's: they differ by"),
    0.5: ("merged_once", "already holds 1.0"),
}


@pytest.mark.parametrize("size", [0.05, 0.5])
@pytest.mark.parametrize(("config", "how"), HELD.values(), ids=HELD)
def test_a_base_that_holds_the_change(config, how, size, model_folder, tmp_path):
    """Whether the unmerged base is here, only the merged one, or none."""
    if "lora_bias" in config:
        model_folder = cases.write_base(
            tmp_path / "base", "llama", attention_bias=True, mlp_bias=True
        )
    folder = write_adapter(tmp_path / "adapter", model_folder, size=size, **config)
    for base in (model_folder, None):
        assert certificate_of(load_adapter(folder, model_folder), folder, base).passed
    model = load_adapter(folder, merged(folder, model_folder, tmp_path / "merged", **how))
    certificate = certificate_of(model, folder, model_folder)
    if how.get("times") == 2 and config:  # DoRA's change depends on the weight that it finds
        caught(certificate, *TWICE[size])
    else:
        caught(certificate, "merged_once", "already")
    for base in (tmp_path / "merged", None):
        caught(certificate_of(model, folder, base), "merged_once", "hold their change already")


def test_what_cannot_be_seen_is_not_judged(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=1e-4)
    alone = certificate_of(load_adapter(folder, model_folder), folder, None)
    assert alone.passed is None
    assert alone.verdict.startswith("merged_once: not judged: no stored base to compare with")
    stored = judged(folder, model_folder)
    assert stored.passed
    assert "the change is too small to be seen" in stored["merged_once"].message
