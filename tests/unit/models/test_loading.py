"""A model that cannot be loaded is named; its digest is that of its weights."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from loradrift.config import ModelConfig, UserError
from loradrift.models import check_path, load_backbone, load_tokenizer, model_fingerprint


@pytest.fixture
def copy(model, model_folder, tmp_path):
    """The model in a folder of its own."""
    shutil.copytree(model_folder, tmp_path / "copy")
    return replace(model, path=str(tmp_path / "copy"))


def test_a_folder_that_is_no_model_is_named(tmp_path, model_folder):
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


def test_weights_that_do_not_fit_or_are_damaged_are_named(copy):
    path = Path(copy.path, "model.safetensors")
    renamed = {k.replace("layers.1", "layerz.1"): value for k, value in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"9 parameters have no weights that fit, model.layers.1"):
        load_backbone(copy, seed=0)  # no random start
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(copy, seed=0)


def test_a_hub_name_without_a_network_says_what_to_do():
    absent = ModelConfig(name="tinyllama", path="nobody/nothing")
    with pytest.raises(UserError, match="cannot be had from the hub .* use model=tiny"):
        load_tokenizer(absent)
    with pytest.raises(UserError, match="cannot be had from the hub"):
        load_backbone(absent, seed=0)


def test_the_fingerprint_is_of_the_weights_not_of_the_folder(model, copy, tmp_path):
    def digest(config, seed=0):
        return model_fingerprint(config, seed=seed, cache=tmp_path)

    first, random = digest(model), replace(model, weights="random")
    assert digest(copy, seed=1) == first
    weights = Path(copy.path, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert digest(copy) != first
    assert digest(random) not in (first, digest(random, seed=1))
