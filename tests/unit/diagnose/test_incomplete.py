"""Files that lack or misname a part: the check, and what to change, are those of that part."""

import json

import peft
import pytest
from adapter_cases import PLAIN, edit, load_adapter, load_base, rewrite, write_adapter
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter


def without(part):
    return lambda tensors: {key: x for key, x in tensors.items() if part not in key}


LOST = {
    "a layer": ({}, without("layers.1."), "keys: 3 adapted modules have no keys in"),
    "a module": ({}, without("layers.1.self_attn.q_proj"), "keys: 1 adapted modules have no keys"),
    "a factor": ({}, without("layers.1.self_attn.q_proj.lora_B"), "keys: adapter_model.safetensor"),
    "rows of the embedding": (
        {"trainable_token_indices": [1, 2]},
        without("trainable_tokens"),
        "keys: adapter_model.safetensors has lost the rows of trainable_token_indices",
    ),
}


@pytest.mark.parametrize("lost", LOST)
def test_what_is_lost_is_not_to_be_merged(lost, model_folder, tmp_path):
    config, change, reason = LOST[lost]
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3, **config)
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, change)
    found = diagnose(str(folder), None)
    assert found.exit_code == 1 and found.advice.reason.startswith(reason), found.advice.reason
    assert found.advice.change == (
        f"train it again, or copy all of {folder} from where it was saved whole"
    )


def test_an_incomplete_adapter_is_not_merged(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, without("layers.1.self_attn.q_proj"))
    with pytest.raises(UserError, match=r"it holds nothing for model\.layers\.1\.self_attn\.q_pro"):
        merge_adapter(folder, str(model_folder), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_lost_bias_of_b(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3, lora_bias=True)
    rewrite(folder, without("lora_B.bias"))
    reason = diagnose(str(folder), None).advice.reason
    assert "lacks model.layers.0.mlp.down_proj.lora_B.bias, but lora_bias=True (6 such)" in reason


def swapped(key):
    return key.translate(str.maketrans("AB", "BA")) if "lora_" in key else key


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("target", ["down_proj", "embed_tokens"])
def test_factors_that_changed_places(target, transposed, model_folder, tmp_path):
    config = {"target_modules": [target, "q_proj"]}
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3, **config)
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, lambda ts: {swapped(k): x.T if transposed else x for k, x in ts.items()})
    found = diagnose(str(folder), None)
    how = "swapped and transposed" if transposed else "swapped or transposed"
    assert found.advice.reason.startswith("consistent: ")
    assert f"{target}: A and B are {how}" in found.advice.reason


def test_keys_without_pefts_prefix_are_named_and_can_be_merged(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda ts: {k.removeprefix("base_model.model."): x for k, x in ts.items()})
    found = diagnose(str(folder), None)
    assert found.exit_code == 1
    assert found.advice.reason.startswith("keys: 12 keys of adapter_model.safetensors are not as")
    assert "they must begin with 'base_model.model.'" in found.advice.reason
    assert "merge_adapter(" in found.advice.change


def test_keys_with_the_adapters_name_are_judged_by_what_peft_makes_of_them(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda ts: {k.replace(".weight", ".default.weight"): x for k, x in ts.items()})
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, lambda ts: {k.replace(".default.", ".other."): x for k, x in ts.items()})
    found = diagnose(str(folder), None)
    assert found.exit_code == 1
    assert "must begin with 'base_model.model.' and not hold the adapter's name" in (
        found.advice.reason
    )


def test_a_head_of_another_size(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, modules_to_save=["lm_head"])
    rewrite(folder, lambda ts: {k: x[:10] if "lm_head" in k else x for k, x in ts.items()})
    reason = diagnose(str(folder), None).advice.reason
    assert reason == (
        "head: lm_head.weight has shape (10, 32) in adapter_model.safetensors, and (287, 32) in "
        "the model"
    )


def test_half_a_head(tmp_path):
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(vocab_size=64, intermediate_size=32, **size))
    model.save_pretrained(tmp_path / "bert")
    options = {"kind": AutoModelForSequenceClassification, "task_type": "SEQ_CLS"}
    folder = write_adapter(
        tmp_path / "adapter", tmp_path / "bert", target_modules=["query", "value"], **options
    )
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, without("classifier.bias"))
    reason = diagnose(str(folder), None).advice.reason
    assert reason == (
        "head: adapter_model.safetensors has lost classifier.bias, and holds classifier.weight "
        "beside it"
    )


def test_added_tokens_are_told_from_another_base(model_folder, tmp_path):
    model = load_base(model_folder)
    model.resize_token_embeddings(310)
    model = peft.get_peft_model(model, peft.LoraConfig(**PLAIN))
    model.save_pretrained(tmp_path / "adapter")
    found = diagnose(str(tmp_path / "adapter"), str(model_folder))
    assert "model.embed_tokens.weight has 310 rows in adapter_model.safetensors, and 287 in" in (
        found.advice.reason
    )
    assert "\nmodel.resize_token_embeddings(310)" in found.advice.change


def test_a_base_without_its_tokenizers_files_is_judged_on_any_tokens(tmp_path):
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    options = {"target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}
    folder = write_adapter(tmp_path / "adapter", tmp_path / "base", size=0.3, **options)
    assert diagnose(str(folder), None).exit_code == 0


UNUSUAL = {
    "target_parameters": {"target_parameters": ["q_proj.weight"], "target_modules": ["v_proj"]},
    "layer_replication": {"layer_replication": [(0, 2), (1, 2)]},
    "an embedding alone": {"target_modules": ["embed_tokens"]},
}


@pytest.mark.parametrize("config", UNUSUAL.values(), ids=UNUSUAL)
def test_what_cannot_be_judged_is_not_called_broken(config, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    found = diagnose(str(folder), None)
    assert found.exit_code == 2, found.advice.reason
    assert "not judged" in found.advice.reason
    assert found.advice.change == "none: adapters of this kind cannot be diagnosed here"


@pytest.mark.parametrize("key", ["r", "lora_alpha"])
def test_a_number_beyond_all_floats(key, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder)
    edit(folder, **{key: 10**400})
    reason = diagnose(str(folder), None).advice.reason
    assert f"adapter_config.json: {key} must be a positive" in reason


def test_json_that_is_nested_too_deeply(folder, model_folder):
    load_adapter(folder, model_folder)
    (folder / "adapter_config.json").write_text('{"r": ' + "[" * 100_000 + "]" * 100_000 + "}")
    found = diagnose(str(folder), str(model_folder))
    assert "adapter_config.json is damaged: it is nested too deeply" in found.advice.reason
    json.dumps(found.to_json(), allow_nan=False)
