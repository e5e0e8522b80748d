"""A model that cannot be loaded is named; its digest is that of its weights."""

import shutil
from dataclasses import replace

import pytest

from loradrift.config import ModelConfig, UserError
from loradrift.models import check_path, load_backbone, load_tokenizer, model_fingerprint


def test_a_folder_that_is_no_model_is_named(tmp_path, model, model_folder):
    here = ModelConfig(name="local", path=str(tmp_path))
    with pytest.raises(UserError, match="is no model: it has no config.json"):
        check_path(here)
    shutil.copy(model_folder / "config.json", tmp_path)
    with pytest.raises(UserError, match="holds no weights"):
        check_path(here)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"weights as a pickle \(pytorch_model.bin\)"):
        load_backbone(here, seed=0)
    check_path(replace(here, weights="random"))


def test_a_damaged_weight_file_is_named(tmp_path, model_folder):
    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(ModelConfig(name="local", path=str(tmp_path)), seed=0)


def test_weights_that_do_not_fit_are_no_random_start(tmp_path, model_folder):
    from safetensors.torch import load_file, save_file

    shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {key.replace("layers.1", "layerz.1"): value for key, value in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    here = ModelConfig(name="local", path=str(tmp_path))
    with pytest.raises(UserError, match=r"9 parameters have no weights that fit, model.layers.1"):
        load_backbone(here, seed=0)


def test_a_hub_name_without_a_network_says_what_to_do():
    absent = ModelConfig(name="tinyllama", path="nobody/nothing")
    with pytest.raises(UserError, match="cannot be had from the hub .* use model=tiny"):
        load_tokenizer(absent)
    with pytest.raises(UserError, match="cannot be had from the hub"):
        load_backbone(absent, seed=0)


def test_the_fingerprint_is_of_the_weights_not_of_the_folder(model, model_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    same = replace(model, path=str(copy))
    first = model_fingerprint(model, seed=0, cache=tmp_path)
    assert model_fingerprint(same, seed=1, cache=tmp_path) == first
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_fingerprint(same, seed=0, cache=tmp_path) != first
    random = replace(model, weights="random")
    assert model_fingerprint(random, seed=0, cache=tmp_path) not in (
        first,
        model_fingerprint(random, seed=1, cache=tmp_path),
    )
