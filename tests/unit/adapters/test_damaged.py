"""Files that are no adapter, contradict each other, or are not those that were certified."""

from contextlib import suppress

import adapter_cases as cases
import pytest
import torch
from adapter_cases import CONFIG, caught, certificate_of, edit, load_adapter, pickled, rewrite

Q = "model.layers.0.self_attn.q_proj"
Q0 = f"base_model.model.{Q}.lora_"
PLACES = "target_modules must be a list of names, or a regular expression"
REAL = f"{Q0}A.weight must hold real numbers, got torch"


def first_a(x):
    return lambda folder: rewrite(folder, lambda tensors: tensors | {f"{Q0}A.weight": x})


PICKLE = "is a pickle under the name of a safetensors file"
ONLY = "adapter_model.bin is a pickle, which can run code and is not loaded"
DAMAGES = {
    "truncated": (cases.truncate, "cannot be read"),
    "pickle": (pickled, PICKLE),
    "old pickle": (lambda f: pickled(f, _use_new_zipfile_serialization=False), PICKLE),
    "pickle alone": (lambda f: pickled(f, "adapter_model.bin"), ONLY),
    "no JSON": (lambda f: (f / CONFIG).write_text('{"peft'), "adapter_config.json cannot be read"),
    "not finite": (first_a(torch.full((4, 32), torch.nan)), f"{Q0}A.weight holds NaN or infinity"),
    "integers": (first_a(torch.ones(4, 32, dtype=torch.int64)), REAL),
    "booleans": (first_a(torch.ones(4, 32, dtype=torch.bool)), REAL),
    "complex": (first_a(torch.ones(4, 32, dtype=torch.complex64)), REAL),
    "no config": (lambda f: (f / CONFIG).unlink(), f"is no adapter: it has no {CONFIG}"),
    "no rank": (lambda f: edit(f, drop=["r"]), "adapter_config.json: r is missing"),
}


@pytest.mark.parametrize(("harm", "message"), DAMAGES.values(), ids=DAMAGES)
def test_files(harm, message, folder, model_folder):
    model = load_adapter(folder, model_folder)
    harm(folder)
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "files", message)
    assert "\n" not in certificate.verdict


NEVER_WRITTEN = [
    ({"r": 0}, "r must be a positive integer, got 0"),
    ({"r": 4.5}, "r must be a positive integer, got 4.5"),
    ({"r": True}, "r must be a positive integer, got true"),
    ({"r": float("inf")}, "r must be a positive integer, got Infinity"),
    ({"lora_alpha": "x"}, 'lora_alpha must be a positive number, got "x"'),
    ({"lora_alpha": None}, "lora_alpha must be a positive number, got null"),
    ({"lora_dropout": 2}, "lora_dropout must be in [0, 1], got 2"),
    ({"target_modules": 3}, PLACES),
    ({"target_modules": "(["}, f'{PLACES}, got "(["'),
    ({"exclude_modules": [3]}, "exclude_modules must be a list of names"),
    ({"rank_pattern": {"([": 3}}, "rank_pattern must be an object, regular expression -> pos"),
    ({"alpha_pattern": {"q_proj": -1}}, "alpha_pattern must be an object, regular expression"),
    ({"modules_to_save": 5}, "modules_to_save must be a list of names, got 5"),
    ({"use_dora": "yes"}, 'use_dora must be true or false, got "yes"'),
    ({"init_lora_weights": 3}, "init_lora_weights must be true, false or a name, got 3"),
    ({"task_type": 7}, "task_type must be a name, got 7"),
    ({"base_model_name_or_path": []}, "base_model_name_or_path must be a folder or hub name"),
]
MORE = {"target_modules": ["q_proj", "v_proj", "down_proj", "o_proj"]}
CONTRADICTIONS = [
    ({"r": 8}, "consistent", "in adapter_model.safetensors do not fit the rank 8 of"),
    ({"target_modules": ["q_proj"]}, "consistent", "is none of target_modules"),
    (MORE, "consistent", "target_modules names o_proj, which has no keys"),
    ({"use_dora": True}, "consistent", "lacks model.layers.0.mlp.down_proj.lora_magnitude"),
    ({"peft_type": "IA3"}, "files", "peft_type must be LORA, got IA3"),
    ({"lora_alpha": 16}, "scale", "multiplies with 2, and alpha/r of adapter_config.json"),
    ({"use_rslora": True}, "scale", "and alpha/sqrt(r) of adapter_config.json is 4"),
    ({"alpha_pattern": {"v_proj": 1}}, "scale", "is 0.25"),
    *((changes, "files", f"adapter_config.json: {message}") for changes, message in NEVER_WRITTEN),
]


@pytest.mark.parametrize(("changes", "name", "message"), CONTRADICTIONS)
def test_configuration(changes, name, message, folder, model_folder):
    model = load_adapter(folder, model_folder)
    edit(folder, **changes)
    caught(certificate_of(model, folder, model_folder), name, message)


SWAPPED = "A and B are swapped or transposed"
TENSORS = {
    "zero B": (cases.zeroed("lora_B"), "lora_B", "B is zero in 6 of 6 modules"),
    "zero A": (cases.zeroed(f"{Q0}A"), "lora_A", f"A is zero in 1 of 6 modules, {Q}"),
    "swapped": (cases.swapped(), "consistent", SWAPPED),
    "transposed": (lambda ts: {k: x.T for k, x in ts.items()}, "consistent", SWAPPED),
    "a key renamed": (
        lambda ts: {key.replace(f"{Q}.lora_A", f"q{Q}.lora_A"): x for key, x in ts.items()},
        "keys", "1 of 7 modules in adapter_model.safetensors are not in"),
    "a key lost": (cases.without(f"{Q0}B"), "keys", f"has no lora_B for {Q}"),
    "a prefix": (
        lambda ts: {f"base_model.model.{key}": x for key, x in ts.items()},
        "keys", "without 'base_model.model.' in front all fit"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "name", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors(change, name, message, folder, model_folder):
    model = load_adapter(folder, model_folder)
    rewrite(folder, change)
    with suppress(RuntimeError):  # if PEFT refuses it too
        model = load_adapter(folder, model_folder)
    certificate = certificate_of(model, folder, model_folder)
    if name == "keys":  # it also contradicts its own target_modules
        assert certificate["keys"].passed is False
        assert message in certificate["keys"].message
    else:
        caught(certificate, name, message)


def test_files_changed_since_they_were_certified(folder, model_folder):
    model = load_adapter(folder, model_folder)
    recorded = certificate_of(model, folder, model_folder).to_json()["files"]
    edit(folder, lora_alpha=16)
    again = load_adapter(folder, model_folder)
    assert certificate_of(again, folder, model_folder).passed  # the files alone cannot tell
    certificate = certificate_of(again, folder, model_folder, recorded=recorded)
    caught(certificate, "files", "adapter_config.json is not the file that was certified")
