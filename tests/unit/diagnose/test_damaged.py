"""Files that are no adapter, or no longer the one that was certified, are named in one line."""

import json

import pytest
import torch
from adapter_cases import WEIGHTS, caught, certificate_of, edit, load_adapter, rewrite, tensors_of

Q0_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def truncate(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def pickle_instead(folder):
    torch.save(tensors_of(folder), folder / WEIGHTS)


def old_pickle_instead(folder):
    tensors = tensors_of(folder)
    torch.save(tensors, folder / WEIGHTS, _use_new_zipfile_serialization=False)


def pickle_only(folder):
    torch.save(tensors_of(folder), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def damage(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LO')


def not_finite(folder):
    rewrite(folder, lambda tensors: tensors | {Q0_A: torch.full((4, 32), torch.nan)})


def no_adapter(folder):
    (folder / "adapter_config.json").unlink()


DAMAGES = {
    truncate: "cannot be read",
    pickle_instead: "is a pickle under the name of a safetensors file",
    old_pickle_instead: "is a pickle under the name of a safetensors file",
    pickle_only: "adapter_model.bin is a pickle, which can run code and is not loaded",
    damage: "adapter_config.json cannot be read",
    not_finite: "q_proj.lora_A.weight holds NaN or infinity",
    no_adapter: "is no adapter: it has no adapter_config.json",
}


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_files(harm, folder, model_folder):
    model = load_adapter(folder, model_folder)
    harm(folder)
    certificate = certificate_of(model, folder, model_folder)
    caught(certificate, "files", DAMAGES[harm])
    assert "\n" not in certificate.verdict


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": 0}, "r must be a positive integer, got 0"),
        ({"r": 4.5}, "r must be a positive integer, got 4.5"),
        ({"r": True}, "r must be a positive integer, got true"),
        ({"r": float("inf")}, "r must be a positive integer, got Infinity"),
        ({"lora_alpha": "x"}, 'lora_alpha must be a positive number, got "x"'),
        ({"lora_alpha": None}, "lora_alpha must be a positive number, got null"),
        ({"lora_dropout": 2}, "lora_dropout must be in [0, 1], got 2"),
        ({"target_modules": 3}, "target_modules must be a list of names, or a regular expression"),
        (
            {"target_modules": "(["},
            'target_modules must be a list of names, or a regular expression, got "(["',
        ),
        ({"exclude_modules": [3]}, "exclude_modules must be a list of names"),
        ({"rank_pattern": {"([": 3}}, "rank_pattern must be an object, regular expression -> pos"),
        ({"alpha_pattern": {"q_proj": -1}}, "alpha_pattern must be an object, regular expression"),
        ({"modules_to_save": 5}, "modules_to_save must be a list of names, got 5"),
        ({"use_dora": "yes"}, 'use_dora must be true or false, got "yes"'),
        ({"init_lora_weights": 3}, "init_lora_weights must be true, false or a name, got 3"),
        ({"task_type": 7}, "task_type must be a name, got 7"),
        ({"base_model_name_or_path": []}, "base_model_name_or_path must be a folder or hub name"),
    ],
)
def test_a_setting_that_peft_never_writes(changes, message, folder, model_folder):
    model = load_adapter(folder, model_folder)
    edit(folder, **changes)
    caught(certificate_of(model, folder, model_folder), "files", f"adapter_config.json: {message}")


def test_a_setting_that_is_not_there(folder, model_folder):
    model = load_adapter(folder, model_folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    del config["r"]
    path.write_text(json.dumps(config))
    caught(
        certificate_of(model, folder, model_folder), "files", "adapter_config.json: r is missing"
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_factors_of_no_real_numbers(dtype, folder, model_folder):
    model = load_adapter(folder, model_folder)
    rewrite(folder, lambda tensors: tensors | {Q0_A: torch.ones(4, 32, dtype=dtype)})
    caught(
        certificate_of(model, folder, model_folder),
        "files",
        f"{Q0_A} must hold real numbers, got torch",
    )


def test_files_changed_since_they_were_certified(folder, model_folder):
    model = load_adapter(folder, model_folder)
    recorded = certificate_of(model, folder, model_folder).to_json()["files"]
    edit(folder, lora_alpha=16)
    again = load_adapter(folder, model_folder)
    assert certificate_of(again, folder, model_folder).passed  # the files alone cannot tell
    certificate = certificate_of(again, folder, model_folder, recorded=recorded)
    caught(certificate, "files", "adapter_config.json is not the file that was certified")
