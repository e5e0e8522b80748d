"""What is exported loads back to the bit, or the export fails and an earlier one stays."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from loradrift.config import FullFinetuneConfig, LoraConfig, UserError
from loradrift.methods import make_trainable
from loradrift.models import adapter_weights, export_model, load_backbone, load_tokenizer
from loradrift.runs import open_run, read_record
from loradrift.training import run

FULL = FullFinetuneConfig(name="full_finetune")
LORA = LoraConfig(name="lora", rank=2, alpha=4)


def first_changed(path):
    """The file again, with one number in it changed."""
    tensors = load_file(path)
    name = min(tensors)
    tensors[name].view(-1)[-1] += 1e-7
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


def first_lost(path):
    tensors = load_file(path)
    tensors.pop(min(tensors))
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


def token_lost(path):
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"].pop()
    path.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    "case",
    [
        (FULL, "model.safetensors", first_changed, "exported model .* written with other values"),
        (FULL, "model.safetensors", first_lost, "exported model does not load back as it is"),
        (LORA, "adapter_model.safetensors", first_changed, "model .* written with other values"),
        (LORA, "adapter_model.safetensors", first_lost, "exported model .* was not written"),
        (replace(LORA, init="pissa"), "adapter_model.safetensors", first_changed, "other values"),
        (LORA, "head.safetensors", first_changed, "exported head .* written with other values"),
        (FULL, "tokenizer.json", token_lost, "exported tokenizer .*: it gives other tokens"),
    ],
)
def test_an_export_that_loads_back_as_something_else_fails(model, tmp_path, monkeypatch, case):
    method, file, damage, message = case
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, method, seed=0)
    given = [backbone, torch.nn.Linear(32, 2), load_tokenizer(model)]
    if getattr(method, "init", None) == "pissa":
        given.append({name: x.clone() for name, x in adapter_weights(backbone.lm).items()})
    digests = export_model(tmp_path / "model", *given)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    config = "config.json" if method is FULL else "adapter_config.json"
    weights = {"head.safetensors", f"{'' if method is FULL else 'adapter_'}model.safetensors"}
    assert digests == {name: sha256(before[name]).hexdigest() for name in {config} | weights}
    save = PreTrainedTokenizerFast.save_pretrained

    def save_and_damage(self, folder, **options):  # the last of the files
        save(self, folder, **options)
        damage(Path(folder, file))

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", save_and_damage)
    with pytest.raises(UserError, match=message):
        export_model(tmp_path / "model", *given)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_with_an_adapter_inside_is_not_exported_as_the_adapter_alone(model, tmp_path):
    from peft import LoraConfig as Peft

    backbone = load_backbone(model, seed=0)
    backbone.lm.add_adapter(Peft(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with pytest.raises(UserError, match="the exported model does not load back as it is"):
        export_model(tmp_path / "model", backbone, None, load_tokenizer(model))


@pytest.mark.parametrize("method", [LORA, replace(LORA, init="pissa")])
def test_an_export_is_the_same_file_in_every_process(model, tmp_path, method):
    """PEFT's modules are a set, of an order of each process's own."""
    backbone = load_backbone(model, seed=0)
    make_trainable(backbone, method, seed=0)
    weights = {name: x.clone() for name, x in adapter_weights(backbone.lm).items()}
    initial = None if method is LORA else weights
    export_model(tmp_path / "model", backbone, None, load_tokenizer(model), initial)
    targets = json.loads((tmp_path / "model/adapter_config.json").read_text())["target_modules"]
    assert len(targets) > 6 and targets == sorted(targets)


def test_a_run_whose_export_fails_is_no_success(load, model, cache, tmp_path, monkeypatch):
    save = PreTrainedModel.save_pretrained

    def save_and_damage(self, folder, **options):
        save(self, folder, **options)
        first_changed(Path(folder, "model.safetensors"))

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save_and_damage)
    config = load(
        "method=full_finetune", "model=local", f"model.path={model.path}", f"cache={cache}",
        f"runs={tmp_path}/runs", "data.train_rows=50", "data.validation_rows=10",
        "task.max_steps=2", "task.max_length=32", "callbacks.activation_dump.rows=4",
        "callbacks.forgetting.enabled=false",
    )  # fmt: skip
    match = "the exported model does not load back as it is"
    with pytest.raises(UserError, match=match), open_run(config) as cell:
        run(config, cell)
    assert read_record(cell.folder).status == "failed"
    assert not (cell.folder / "model").exists()
