"""The weights that a run starts from are those that the run before left, to rounding."""

import json
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from loradrift.config import ModelConfig, UserError
from loradrift.files import sha256_of
from loradrift.methods import make_trainable
from loradrift.models import (
    adapter_weights,
    export_model,
    load_backbone,
    load_tokenizer,
    model_fingerprint,
    trainable_parameters,
)
from loradrift.runs import read_record
from loradrift.runs.links import Link, chain_at, weights_digest
from loradrift.runs.model_files import HEAD
from loradrift.training.started import chain_fingerprint, started


@pytest.fixture
def trained(load, tmp_path):
    """``trained(method, base)`` is the folder of a run that moved a model, and its record."""

    def make(method, base, *, task="rte", start=None, first=None):
        settings = load(f"method={method}", "seed=3").method
        model = ModelConfig(name="local", path=str(base))
        backbone = load_backbone(model, seed=3)
        make_trainable(backbone, settings, seed=3)
        initial = None
        if method == "pissa":
            initial = {name: x.clone() for name, x in adapter_weights(backbone.lm).items()}
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in trainable_parameters(backbone).values():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
        folder = tmp_path / "runs/main" / task / method / "seed=3"
        head = torch.nn.Linear(32, 2)
        export_model(folder / "model", backbone, head, load_tokenizer(model), initial)
        print_ = model_fingerprint(model, seed=0, cache=tmp_path)
        place = {"study": "main", "task": task, "method": method, "variant": "", "seed": 3}
        record = {
            "schema_version": 4, "status": "success", "coordinates": place,
            "config": {"model": {"name": "local", "path": str(first or base)}},
            "fingerprints": {"base_model": print_}, "certificate": {"passed": True},
        }  # fmt: skip
        if start is not None:
            prints = {"base_model": json.loads((start / "run.json").read_text())["fingerprints"]}
            links = chain_at(start, "", tmp_path)
            before = [link.record.coordinates for link in links]
            record["config"]["start"] = {"weights": weights_digest(links[-1], sha256_of)}
            record["fingerprints"] = prints["base_model"]
            record["start"] = {"chain": before, "run": str(start), "fingerprint": print_}
        (folder / "run.json").write_text(json.dumps(record))
        return folder, backbone.eval()

    return make


def begin(folder, tmp_path, weights=None):
    """Where a run starts that was given the run in ``folder``, with ``weights`` or any that are."""
    if weights is None:
        weights = left_in(folder)
    config = SimpleNamespace(
        start={"run": str(folder), "weights": weights}, cache=str(tmp_path / "cache"),
        model=SimpleNamespace(attention="sdpa"),
    )  # fmt: skip
    return started(config, pretrain=None)


def left_in(folder):
    """The digest of what a run has left."""
    return weights_digest(Link(folder, read_record(folder)), sha256_of)


def logits(model):
    ids = torch.arange(24).reshape(2, 12) + 5
    with torch.no_grad():
        return model(input_ids=ids).logits


def loaded(folder):
    """As transformers loads it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa"])
def test_an_adapter_is_merged_and_gives_what_peft_gives(trained, model_folder, tmp_path, method):
    folder, backbone = trained(method, model_folder)
    start = begin(folder, tmp_path)
    found = logits(loaded(start.model.path))
    applied = PeftModel.from_pretrained(loaded(model_folder), str(folder / "model")).eval()
    torch.testing.assert_close(found, logits(applied), rtol=0, atol=2e-5)
    torch.testing.assert_close(found, logits(backbone.lm), rtol=0, atol=2e-5)
    assert (found - logits(loaded(model_folder))).abs().max() > 1e-2
    # the head is its own task's; the tokenizer comes along, and the second time nothing is made
    here = {path.name for path in (tmp_path / "cache/started").glob("*/*")}
    assert HEAD not in here and {"tokenizer.json", "model.safetensors"} <= here
    [weights] = (tmp_path / "cache/started").glob("*/model.safetensors")
    made = weights.stat().st_mtime_ns
    assert begin(folder, tmp_path).model == start.model and weights.stat().st_mtime_ns == made


def test_whole_weights_are_taken_as_they_are_and_a_head_alone_leaves_its_base(
    trained, model_folder, tmp_path
):
    whole, _ = trained("full_finetune", model_folder)
    assert begin(whole, tmp_path).model.path == str(whole / "model")
    frozen, _ = trained("head_only", model_folder)
    assert begin(frozen, tmp_path).model.path == str(model_folder)


def test_a_chain_is_merged_step_by_step_even_when_the_cache_is_gone(
    trained, model_folder, tmp_path
):
    first, _ = trained("lora", model_folder)
    below = begin(first, tmp_path)
    options = {"task": "mrpc", "start": first, "first": below.model.path}
    second, backbone = trained("lora", below.model.path, **options)
    for path in sorted((tmp_path / "cache/started").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    start = begin(second, tmp_path)
    torch.testing.assert_close(
        logits(loaded(start.model.path)), logits(backbone.lm), rtol=0, atol=2e-5
    )
    assert start.base_print == below.base_print
    assert [link.task for link in start.links] == ["rte", "mrpc"]
    path = second / "run.json"
    record = json.loads(path.read_text()) | {"versions": {"transformers": "4.0.0"}}
    record["start"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"has digest .*; that run had transformers 4.0.0 and this"):
        begin(second, tmp_path)
    prints = {chain_fingerprint(links) for links in (start.links, below.links, start.links[::-1])}
    assert len(prints) == 3


def test_a_run_that_was_made_again_since_the_job_was_made_is_refused(
    trained, model_folder, tmp_path
):
    folder, _ = trained("full_finetune", model_folder)
    then = left_in(folder)
    assert begin(folder, tmp_path, then).model.path == str(folder / "model")
    weights = folder / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")  # as another training leaves it
    with pytest.raises(UserError, match=rf"model.path={folder} has other weights now than when"):
        begin(folder, tmp_path, then)
    begin(folder, tmp_path)


def test_another_base_or_none_and_other_files_are_refused(trained, model_folder, tmp_path):
    folder, _ = trained("lora", model_folder)
    record = json.loads((folder / "run.json").read_text())

    def change(**own):
        (folder / "run.json").write_text(json.dumps(record | own))

    change(fingerprints={"base_model": "0" * 64})
    with pytest.raises(
        UserError, match=r"the base model of \S+ is needed: .*digest 000000000000, a"
    ):
        begin(folder, tmp_path)
    change(config={"model": {"name": "local", "path": str(tmp_path / "gone")}})
    with pytest.raises(
        UserError, match=r"the base model of \S+ is needed: model.path=\S+gone is no"
    ):
        begin(folder, tmp_path)
    for model, said in (({"name": "local"}, "model.path"), ({"pretraining": {}}, "data.seed")):
        change(config={"model": model})
        with pytest.raises(UserError, match=rf"run.json is damaged \(config.{said} is absent"):
            begin(folder, tmp_path)
    change(certificate={"passed": True, "files": {"adapter_model.safetensors": "0" * 64}})
    with pytest.raises(UserError, match=r"started from: \S+adapter_model.safetensors is not"):
        begin(folder, tmp_path)
    change()
    config = json.loads((folder / "model/adapter_config.json").read_text())
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model/adapter_model.safetensors")
    wide = {key: torch.cat([x, x], -1) if "lora_A" in key else x for key, x in weights.items()}
    save_file(wide, folder / "model/adapter_model.safetensors")
    with pytest.raises(UserError, match=rf"nothing can start from \S+: .*{config['r']}") as error:
        begin(folder, tmp_path)
    assert "\n" not in str(error.value)
