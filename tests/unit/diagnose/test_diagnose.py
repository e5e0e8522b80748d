"""The diagnosis of a folder: its exit code, the failing test, and what it says to change."""

import json
import shutil

import pytest
import torch
from adapter_cases import (
    CONFIG,
    edit,
    load_base,
    pasted,
    rewrite,
    tensors_of,
    truncate,
    write_adapter,
    zero_b,
)
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from loradrift.adapters.lora_layers import find_lora_layers
from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter

KINDS = {
    "causal LM": (AutoModelForCausalLM, {"task_type": "CAUSAL_LM"}),
    "classifier": (AutoModelForSequenceClassification, {"task_type": "SEQ_CLS"}),
    "transformer": (AutoModel, {"task_type": "FEATURE_EXTRACTION"}),
}


@pytest.mark.filterwarnings("ignore:Found missing adapter keys", "ignore:.*PEFT", "ignore:Already")
@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_adapter_whose_code_runs_as_it_is_pasted(kind, model_folder, tmp_path):
    loader, config = KINDS[kind]
    folder = write_adapter(tmp_path / 'an "adapter"', model_folder, kind=loader, size=0.3, **config)
    found = diagnose(str(folder), str(model_folder))
    assert (found.exit_code, found.kind) == (0, kind)
    assert {test.passed for test in found.tests} == {True}
    assert found.paths[0].applied and found.advice.change == found.paths[0].code
    quoted = json.dumps(str(folder))
    assert found.advice.change.endswith(f"PeftModel.from_pretrained(model, {quoted})")
    json.dumps(found.to_json(), allow_nan=False)
    for path in found.paths:
        if path.error:  # what PEFT refuses, it refuses of the pasted code too
            with pytest.raises(AttributeError, match="prepare_inputs_for_generation"):
                pasted(path.code)
        else:
            lora_layers = find_lora_layers(pasted(path.code)["model"])
            assert lora_layers is not None and len(lora_layers.layers) == 6


def test_the_base_is_the_one_that_the_adapter_names(folder, model_folder):
    found = diagnose(str(folder), None)
    assert (found.exit_code, found.base) == (0, str(model_folder))


def test_an_adapter_of_the_inner_transformer_is_not_taken_by_the_model(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, kind=AutoModel, size=0.3)
    edit(folder, task_type="CAUSAL_LM")
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    ignored = "on the model: cosine 1.000000, output changes by 0: not applied"
    assert ignored in found.tests[0].message
    assert "the adapter belongs to the transformer inside" in found.advice.reason
    assert "merge_adapter(" in found.advice.change


def test_a_small_effect_is_applied_nonetheless(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=3e-4)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 0
    assert "applied, its effect is this small" in found.tests[0].message


def test_keys_that_no_path_takes_are_merged(model_folder, tmp_path, monkeypatch):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda tensors: {f"base_model.model.0.auto_{k}": x for k, x in tensors.items()})
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    assert {test.name: test.passed for test in found.tests}["module structure"] is False
    assert "Merged into the base, its outputs are the adapter's to" in found.advice.reason
    assert f'merge_adapter("{folder}", "{model_folder}", "merged")' in found.advice.change
    monkeypatch.chdir(tmp_path)
    pasted(found.advice.change)
    load_base(tmp_path / "merged")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("no")["input_ids"]
    layer = "layers.1.self_attn.q_proj."
    parts = {key.rpartition(layer)[2]: x for key, x in tensors_of(folder).items()}
    change = 2 * parts["lora_B.weight"] @ parts["lora_A.weight"]
    key, expected = f"model.{layer}weight", load_base(model_folder).state_dict()
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    torch.testing.assert_close(merged[key], expected[key] + change)
    assert merge_adapter(folder, str(model_folder), tmp_path / "again") < 1e-3


NESTED = '{"r": ' + "[" * 100_000 + "]" * 100_000 + "}"
BROKEN = {
    "zero B": (zero_b, "lora_B: B is zero in 6 of 6 modules"),
    "another rank": (lambda f: edit(f, r=8), "consistent: model.layers.0"),
    "truncated": (truncate, "cannot be read"),
    "no JSON": (lambda f: (f / CONFIG).write_text("{"), "adapter_config.json cannot be read"),
    "nested": (
        lambda f: (f / CONFIG).write_text(NESTED),
        "json is damaged: it is nested too deeply",
    ),
    "a huge rank": (lambda f: edit(f, r=10**400), f"{CONFIG}: r must be a positive"),
    "a huge alpha": (lambda f: edit(f, lora_alpha=10**400), "lora_alpha must be a positive"),
    "no LoRA": (lambda f: edit(f, peft_type="IA3"), "peft_type must be LORA, got IA3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, folder, model_folder):
    harm, reason = BROKEN[name]
    harm(folder)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == (2 if name == "no LoRA" else 1)
    verdicts = {test.name: test.passed for test in found.tests}
    assert verdicts["weights" if harm is zero_b else "files"] is False
    if harm is zero_b:
        assert "on the model: cosine 1.000000, output changes by 0" in found.tests[0].message
    assert reason in found.advice.reason
    assert "\n" not in found.advice.reason and found.advice.change
    json.dumps(found.to_json(), allow_nan=False)


def test_without_a_base_it_is_not_judged(model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", base)
    shutil.rmtree(base)
    found = diagnose(str(folder), None)
    assert found.exit_code == 2
    assert (found.tests[0].name, found.tests[0].passed) == ("embedding difference", None)
    assert f"analysis=diagnose adapter={folder} base=<its base model>" in found.advice.change


def test_a_base_that_holds_the_adapter_is_loaded_without_it(folder, model_folder, tmp_path):
    merged = shutil.copytree(model_folder, tmp_path / "merged")
    merge_adapter(folder, str(model_folder), merged)
    found = diagnose(str(folder), str(merged))
    assert found.exit_code == 1
    assert "it was merged and is applied again" in found.advice.reason
    assert find_lora_layers(pasted(found.advice.change)["model"]) is None


def test_a_folder_that_is_no_adapter(tmp_path, model_folder):
    with pytest.raises(UserError, match="adapter=.*/nothing is no folder"):
        diagnose(str(tmp_path / "nothing"), None)
    with pytest.raises(UserError, match="holds no adapter: there is no adapter_config.json in"):
        diagnose(str(model_folder), None)


def test_a_run_is_judged_with_its_record(compute, tmp_path):
    folder, record = compute("method=lora", "seed=6", "method.optim.lr=1e-2")
    assert record.certificate["passed"] is True and record.certificate["seconds"] > 0
    found = diagnose(str(folder), None)
    assert (found.exit_code, found.kind) == (0, "run")
    assert diagnose(str(folder / "model"), None).exit_code == 0
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model/head.safetensors").unlink()
    found = diagnose(str(copy), None)
    assert found.exit_code == 1
    assert "head.safetensors is not the file that was certified" in found.advice.reason
