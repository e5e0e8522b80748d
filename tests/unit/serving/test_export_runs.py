"""What a finished run is exported as: its language model and, where it has one, its classifier."""

import json
import shutil
import warnings

import peft
import pytest
import torch
from adapter_cases import edit, load_adapter, load_base, rewrite, write_adapter, write_base
from export_cases import IDS, head_logits, logits, write_run
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from loradrift.adapters import read_files
from loradrift.config import UserError
from loradrift.files import read_json, write_json
from loradrift.models import model_fingerprint
from loradrift.serving.export import export, export_cached
from loradrift.serving.export_source import find_source
from loradrift.serving.export_table import print_export


def language_model(folder, base):
    """A run's own model, as PEFT or transformers loads it."""
    model = folder / "model"
    adapted = (model / "adapter_config.json").is_file()
    return load_adapter(model, base) if adapted else load_base(model)


def classified(found) -> torch.Tensor:
    """Logits of an export's classifier, as a user of transformers and PEFT gets them."""
    model = AutoModelForSequenceClassification.from_pretrained(
        found.classifier_base, num_labels=found.num_labels
    )
    model.score = nn.Linear(32, found.num_labels)  # transformers' own has no bias
    model.config.pad_token_id = -1
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(model, found.classifier).eval()(input_ids=IDS).logits


METHODS = {"lora": (True, 4), "dora": (False, 4), "full_finetune": (False, 0)}


@pytest.mark.parametrize("method", METHODS)
def test_a_classification_run_is_a_language_model_and_a_classifier(method, model_folder, tmp_path):
    beside, rank = METHODS[method]
    folder = write_run(tmp_path / "run", model_folder, method)
    found = export(folder, tmp_path / "out")
    own = language_model(folder, model_folder)
    torch.testing.assert_close(logits(load_base(found.merged)), logits(own), rtol=0, atol=2e-5)
    torch.testing.assert_close(classified(found), head_logits(own, folder), rtol=0, atol=2e-5)
    assert (found.adapter is not None, found.rank) == (beside, rank)
    assert found.classifier_base == (found.base if beside else found.merged)
    assert (found.name, found.label, found.num_labels) == ("sst2", "SST-2-like (generated)", 2)
    # an engine would take the head for a part of the model
    assert [path.name for path in found.merged.glob("*.safetensors")] == ["model.safetensors"]
    config = json.loads((found.classifier / "adapter_config.json").read_text())
    assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", ["score"])
    assert read_files(found.classifier).saved.keys() == {"score.weight", "score.bias"}


def test_a_head_alone_stands_on_the_base_where_that_is_given(model, model_folder, tmp_path):
    digest = model_fingerprint(model, seed=0, cache=tmp_path)
    prints = {"base_model": digest}
    folder = write_run(tmp_path / "run", model_folder, "head_only", fingerprints=prints)
    alone = export(folder, tmp_path / "alone")
    found = export(folder, tmp_path / "out", base=str(model_folder))
    assert (alone.classifier_base, found.classifier_base) == (alone.merged, model_folder)
    assert found.base_fingerprint == digest
    wanted = head_logits(load_base(model_folder), folder)
    for each in (alone, found):
        torch.testing.assert_close(classified(each), wanted, rtol=0, atol=2e-5)
    assert "for the merged model" in alone.notices[1] and "for the base model" in found.notices[1]
    write_run(folder, model_folder, "head_only", fingerprints={"base_model": "0" * 64})
    with pytest.raises(UserError, match=r"base=.* has digest .*, and .* was trained on the base"):
        export(folder, tmp_path / "other", base=str(model_folder))


def test_a_head_of_another_kind_is_left_out_and_the_language_model_is_not(model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder)
    head = {"span.weight": torch.ones(2, 32), "span.bias": torch.ones(2)}
    save_file(head, folder / "model" / "head.safetensors")
    found = export(folder, tmp_path / "out")
    assert found.adapter and found.classifier is found.num_labels is None
    assert "The head is not exported: vLLM's classifiers" in " ".join(found.notices)


def test_lora_on_a_soft_prompts_encoder_has_left_the_language_model_as_it_was(
    model_folder, tmp_path
):
    folder = write_run(tmp_path / "run", model_folder, "head_only")
    record = read_json(folder / "run.json")
    record["coordinates"]["method"], record["config"]["method"] = "lora", {"rank": 8}
    write_json(folder / "run.json", record)
    write_adapter(folder / "model" / "encoder", model_folder)
    save_file({"adapter.gain": torch.ones(1)}, folder / "model" / "head.safetensors")
    found = export(folder, tmp_path / "out")
    assert found.adapter is found.classifier is None and not (found.merged / "encoder").exists()
    first, second = found.notices
    assert first == "The run has trained its head alone: the merged model is the base model."
    assert second.startswith("The head is not exported")


def test_a_model_outside_of_its_run_is_exported_without_its_head(model_folder, tmp_path):
    """Nothing there says what the head is for."""
    folder = write_run(tmp_path / "run", model_folder)
    whole = export(folder, tmp_path / "whole")
    copy = shutil.copytree(folder / "model", tmp_path / "elsewhere")
    found = export(copy, tmp_path / "out")
    assert (found.classifier, found.num_labels, found.task) == (None, None, None)
    assert torch.equal(logits(load_base(found.merged)), logits(load_base(whole.merged)))
    assert not (tmp_path / "out" / "classifier").exists() and whole.classifier.is_dir()
    [notice] = found.notices
    assert notice.startswith("The head (head.safetensors) is not exported: this folder lies out")
    assert export_cached(copy, tmp_path).classifier is None
    weights = write_run(tmp_path / "other", model_folder, "full_finetune") / "model"
    with pytest.raises(UserError, match="serve as it is once head.safetensors is moved away$"):
        export(shutil.copytree(weights, tmp_path / "weights"), tmp_path / "none")


def test_what_belongs_to_a_run_is_said(model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder, phase="search")
    said = " ".join(export(folder, tmp_path / "out").notices)
    assert "The run is of a study's phase search" in said
    assert "recorded no certificate: the adapter was certified now" in said


@pytest.mark.parametrize("typed", ["run", "run/model"])
def test_a_run_is_found_by_its_folder_or_its_models(typed, model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder)
    assert find_source(tmp_path / typed, None).folder == folder


def test_files_that_changed_since_the_certificate_are_refused(model_folder, tmp_path):
    files = {"adapter_config.json": "", "adapter_model.safetensors": "0" * 64}
    folder = write_run(tmp_path / "run", model_folder, certificate={"files": files})
    with pytest.raises(UserError, match="is not the file that was certified"):
        export(folder, tmp_path / "out")


def test_another_head_is_no_classifier_of_the_run(model_folder, tmp_path, monkeypatch):
    """As by a library that loses the bias of ``score``."""
    from loradrift.serving import export_write

    def lossy(adapter, head, base, folder):
        write(adapter, {"weight": head["weight"], "bias": 0 * head["bias"]}, base, folder)

    write = export_write.write_classifier
    monkeypatch.setattr(export_write, "write_classifier", lossy)
    folder = write_run(tmp_path / "run", model_folder)
    with pytest.raises(UserError, match=r"exported classifier is not the run's: .* differ by 1.5"):
        export(folder, tmp_path / "out")


def test_an_architecture_without_a_score_loses_its_head_with_a_notice(tmp_path):
    base = write_base(tmp_path / "base", "mamba", state_size=4, num_hidden_layers=2)
    folder = write_run(tmp_path / "run", base, "none")
    config = {"target_modules": ["x_proj"], "task_type": "CAUSAL_LM"}
    write_adapter(folder / "model", base, size=0.2, **config)
    head = {"weight": torch.ones(2, 32), "bias": torch.ones(2)}
    save_file(head, folder / "model" / "head.safetensors")
    found = export(folder, tmp_path / "out")
    assert found.classifier is None and found.adapter
    assert "The head is not exported: " in " ".join(found.notices)


REFUSED = {
    "running": (
        {"status": "running"},
        "has not finished: its status is running; only finished runs are",
    ),
    "failed": ({"status": "failed", "error": "out of cheese"}, "status is failed .out of cheese."),
    "serving": ({"kind": "serving"}, "is a cell of benchmark=serving"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_that_left_nothing_is_refused(name, model_folder, tmp_path):
    changes, message = REFUSED[name]
    folder = write_run(tmp_path / "run", model_folder, **changes)
    with pytest.raises(UserError, match=message):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize("method", ["majority", "random", "zero_shot"])
def test_a_baseline_is_refused(method, model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder, method)
    with pytest.raises(UserError, match=f"run=.* is the baseline {method}, which trains nothing"):
        export(folder, tmp_path / "out")


def test_what_is_no_run_is_refused(model_folder, tmp_path):
    folder = write_run(tmp_path / "runs" / "seed=1", model_folder)
    says = "is neither a run .run.json. nor an adapter .adapter_config.json."
    for place, message in {
        tmp_path / "nowhere": "run=.* is no folder",
        tmp_path: f"{says}$",
        tmp_path / "runs": f"{says}; 1 of the folders below it are, such as seed=1",
        model_folder: f"{says}; it holds a whole model, which engines serve as it is",
    }.items():
        with pytest.raises(UserError, match=message):
            export(place, tmp_path / "out")
    shutil.rmtree(folder / "model")
    with pytest.raises(UserError, match="holds no model: its folder model/ is not there"):
        export(folder, tmp_path / "out")


def test_a_base_has_no_effect_on_whole_weights(model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder, "full_finetune")
    with pytest.raises(UserError, match=r"base=.* has no effect on .*run: its method is full"):
        export(folder, tmp_path / "out", base=str(model_folder))


def test_the_commands_are_for_this_export(model_folder, tmp_path, capsys):
    found = export(write_run(tmp_path / "seed=1", model_folder), tmp_path / "a=b")
    print_export(found, tmp_path / "a=b")
    said = capsys.readouterr().out
    module = {"name": "sst2", "path": str(found.adapter)}  # name=path would be cut elsewhere
    assert f"--model {model_folder} --dtype float32 --enable-lora --max-lora-rank 8" in said
    assert f"--lora-modules '{json.dumps(module)}'" in said
    assert f"--model {found.merged} --served-model-name sst2" in said
    assert "--max-lora-cls-labels 2" in said and "SST-2-like (generated), adapter of rank 4" in said
    assert "ids = [tokenizer.bos_token_id, *tokenizer(" in said


def test_a_run_trained_anew_is_another_version(model_folder, tmp_path):
    folder = write_run(tmp_path / "run", model_folder)
    first = export_cached(folder, tmp_path)
    rewrite(folder / "model", lambda ts: {key: x * 1.1 for key, x in ts.items()})
    edit(folder / "model", lora_dropout=0.0)
    second = export_cached(folder, tmp_path)
    assert first.digest != second.digest and first.merged.is_dir() and second.merged.is_dir()
    key = "model.layers.0.self_attn.q_proj.weight"
    weights = [load_file(each.merged / "model.safetensors")[key] for each in (first, second)]
    assert not torch.equal(*weights)
