"""A model that cannot be loaded is named; its digest is that of its weights."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loradrift.config import FullFinetuneConfig, LoraConfig, ModelConfig, UserError
from loradrift.diagnose.loading import check_base_path
from loradrift.methods import make_trainable
from loradrift.models import (
    check_path,
    export_model,
    load_backbone,
    load_tokenizer,
    model_fingerprint,
)
from loradrift.study.disk import weightless_model


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


def test_a_folder_that_holds_a_model_and_an_adapter_is_refused_wherever_one_is_read(
    model, copy, tmp_path, load
):
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, LoraConfig(name="lora", rank=2, alpha=2), seed=0)
    backbone.lm.save_pretrained(copy.path)  # adapter_config.json and adapter_model.safetensors
    local = ("model=local", f"model.path={copy.path}", f"cache={tmp_path}/cache")
    readers = [
        lambda: check_path(copy),
        lambda: load_tokenizer(copy),
        lambda: load_backbone(copy, seed=0),
        lambda: load_backbone(replace(copy, weights="random"), seed=0),
        lambda: model_fingerprint(copy, seed=0, cache=tmp_path),
        lambda: weightless_model(load("method=full_finetune", *local)),
    ]
    for read in readers:
        with pytest.raises(
            UserError, match=r"model.path=\S+ must hold a model alone, and holds an"
        ):
            read()
    with pytest.raises(UserError, match=r"^base=\S+ must hold a model alone, and holds an adapter"):
        check_base_path(copy.path)
    sentences = tmp_path / "sentences"
    shutil.copytree(copy.path, sentences / "0_Transformer")
    (sentences / "modules.json").write_text("[]")
    with pytest.raises(UserError, match=r"holds an adapter too \(\S+0_Transformer/adapter_config"):
        check_base_path(str(sentences))


def test_what_full_fine_tuning_exports_is_a_model_and_what_lora_exports_is_none(model, tmp_path):
    tokenizer, head = load_tokenizer(model), torch.nn.Linear(32, 2)
    for method in (LoraConfig(name="lora"), FullFinetuneConfig(name="full_finetune")):
        backbone = load_backbone(model, seed=0)
        make_trainable(backbone, method, seed=0)
        export_model(tmp_path / method.name, backbone, head, tokenizer)
    load_backbone(replace(model, path=str(tmp_path / "full_finetune")), seed=0)
    with pytest.raises(UserError, match="is no model: it has no config.json"):
        check_path(replace(model, path=str(tmp_path / "lora")))


def test_a_model_without_sdpa_says_which_attention_it_has(model_folder, tmp_path):
    from transformers import BloomConfig

    shutil.copytree(model_folder, tmp_path / "bloom", ignore=shutil.ignore_patterns("config.json"))
    BloomConfig(vocab_size=300, hidden_size=16, n_layer=1, n_head=2).save_pretrained(
        tmp_path / "bloom"
    )
    bloom = ModelConfig(name="local", path=str(tmp_path / "bloom"), weights="random")
    message = r"^model.attention must be eager with model.path=\S+: BloomForCausalLM has no scaled"
    with pytest.raises(UserError, match=message):
        load_backbone(bloom, seed=0)
    assert len(load_backbone(replace(bloom, attention="eager"), seed=0).blocks) == 1


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
