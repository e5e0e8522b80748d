"""Files that are no adapter, or no longer the one that was certified, are named in one line."""

import pytest
import torch
from adapters import WEIGHTS, caught, edit, judge, load_adapter, rewrite, tensors_of

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
    certificate = judge(model, folder, model_folder)
    caught(certificate, "files", DAMAGES[harm])
    assert "\n" not in certificate.verdict


def test_files_changed_since_they_were_certified(folder, model_folder):
    model = load_adapter(folder, model_folder)
    recorded = judge(model, folder, model_folder).to_json()["files"]
    edit(folder, lora_alpha=16)
    again = load_adapter(folder, model_folder)
    assert judge(again, folder, model_folder).passed  # the files alone cannot tell
    certificate = judge(again, folder, model_folder, recorded=recorded)
    caught(certificate, "files", "adapter_config.json is not the file that was certified")
