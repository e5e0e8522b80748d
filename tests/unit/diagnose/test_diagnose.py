"""The diagnosis of a folder: its exit code, the failing test, and what it says to change."""

import json
import shutil

import pytest
import torch
from adapter_cases import edit, load_base, rewrite, tensors_of, write_adapter, zero_b
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter


def verdicts(found) -> dict[str, bool | None]:
    return {test.name: test.passed for test in found.tests}


KINDS = {
    "causal LM": (AutoModelForCausalLM, {"task_type": "CAUSAL_LM"}),
    "classifier": (AutoModelForSequenceClassification, {"task_type": "SEQ_CLS"}),
    "transformer": (AutoModel, {"task_type": "FEATURE_EXTRACTION"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_adapter(kind, model_folder, tmp_path):
    loader, config = KINDS[kind]
    folder = write_adapter(tmp_path / "adapter", model_folder, kind=loader, size=0.3, **config)
    found = diagnose(str(folder), str(model_folder))
    assert (found.exit_code, found.kind) == (0, kind)
    assert set(verdicts(found).values()) == {True}
    assert found.advice.change.endswith(f'PeftModel.from_pretrained(model, "{folder}")')
    assert found.paths[0].applied
    json.dumps(found.to_json(), allow_nan=False)


def test_the_base_is_the_one_that_the_adapter_names(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    found = diagnose(str(folder), None)
    assert (found.exit_code, found.base) == (0, str(model_folder))


def test_an_adapter_of_the_inner_transformer_is_not_taken_by_the_model(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, kind=AutoModel, size=0.3)
    edit(folder, task_type="CAUSAL_LM")
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    assert "on the model: cosine 1.000000, output changes by 0: not applied" in (
        found.tests[0].message
    )
    assert "the adapter belongs to the transformer inside" in found.advice.reason
    assert "merge_adapter(" in found.advice.change


def test_a_small_effect_is_applied_nonetheless(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=3e-4)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 0
    assert "applied, its effect is this small" in found.tests[0].message


def test_keys_that_no_path_takes_are_merged(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    prefix = "base_model.model."
    expected = load_base(model_folder)
    rewrite(folder, lambda tensors: {f"{prefix}0.auto_{k}": x for k, x in tensors.items()})
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    assert verdicts(found)["module structure"] is False
    assert "Merged into the base, its outputs are the adapter's to" in found.advice.reason
    assert f'merge_adapter("{folder}", "{model_folder}", "merged")' in found.advice.change
    assert merge_adapter(folder, str(model_folder), tmp_path / "merged") < 1e-3
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("no")["input_ids"]
    key = "model.layers.1.self_attn.q_proj.weight"
    parts = {
        k.rpartition("layers.1.self_attn.q_proj.")[2]: x for k, x in tensors_of(folder).items()
    }
    change = 2 * parts["lora_B.weight"] @ parts["lora_A.weight"]
    torch.testing.assert_close(merged[key], expected.state_dict()[key] + change)


def another_rank(folder):
    edit(folder, r=8)


def truncated(folder):
    data = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(data[:100])


def damaged(folder):
    (folder / "adapter_config.json").write_text("{")


def no_lora(folder):
    edit(folder, peft_type="IA3")


@pytest.mark.parametrize(
    ("harm", "failing", "reason"),
    [
        (zero_b, "weights", "lora_B: B is zero in 6 of 6 modules"),
        (another_rank, "files", "consistent: model.layers.0"),
        (truncated, "files", "cannot be read"),
        (damaged, "files", "adapter_config.json cannot be read"),
        (no_lora, "files", "peft_type must be LORA, got IA3"),
    ],
)
def test_broken_files(harm, failing, reason, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    harm(folder)
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == (2 if harm is no_lora else 1)
    assert verdicts(found)[failing] is False
    if harm is zero_b:
        assert "on the model: cosine 1.000000, output changes by 0" in found.tests[0].message
    assert reason in found.advice.reason
    assert "\n" not in found.advice.reason and found.advice.change


def test_without_a_base_it_is_not_judged(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    found = diagnose(str(folder), None)
    assert found.exit_code == 2
    assert verdicts(found)["embedding difference"] is None
    assert f"analysis=diagnose adapter={folder} base=<its base model>" in found.advice.change


def test_another_base(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    other = load_base(model_folder)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.1)
    shutil.copytree(model_folder, tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    found = diagnose(str(folder), str(tmp_path / "other"))
    assert found.exit_code == 1
    assert "an adapter of another base" in found.advice.reason
    assert "base=<the base that it was trained on>" in found.advice.change


def test_a_merged_base(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    shutil.copytree(model_folder, tmp_path / "merged")
    merge_adapter(folder, str(model_folder), tmp_path / "merged")
    found = diagnose(str(folder), str(tmp_path / "merged"))
    assert found.exit_code == 1
    assert "it was merged and is applied again" in found.advice.reason


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
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/model/head.safetensors").unlink()
    found = diagnose(str(tmp_path / "copy"), None)
    assert found.exit_code == 1
    assert "head.safetensors is not the file that was certified" in found.advice.reason
