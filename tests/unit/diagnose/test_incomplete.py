"""Files that lack or misname a part: the check, and what to change, are those of that part."""

import re

import peft
import pytest
from adapter_cases import PLAIN, load_base, rewrite, swapped, without, write_adapter
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter


def without_prefix(tensors):
    return {key.removeprefix("base_model.model."): x for key, x in tensors.items()}


def short_head(tensors):
    return {key: x[:10] if "lm_head" in key else x for key, x in tensors.items()}


AGAIN = "train it again, or copy all of {folder} from where it was saved whole$"
RESTORE = "restore adapter_config.json and adapter_model.safetensors"
HARMED = {
    "a layer": ({}, without("layers.1."), "keys: 3 adapted modules have no keys in", AGAIN),
    "a module": ({}, without("1.self_attn.q_proj"), "keys: 1 adapted modules have no keys", AGAIN),
    "a factor": ({}, without("1.self_attn.q_proj.lora_B"), "keys: adapter_model.safetensor", AGAIN),
    "rows of the embedding": (
        {"trainable_token_indices": [1, 2]},
        without("trainable_tokens"),
        "keys: adapter_model.safetensors has lost the rows of trainable_token_indices",
        AGAIN,
    ),
    "the bias of B": (
        {"lora_bias": True},
        without("lora_B.bias"),
        r".*lacks model.layers.0.mlp.down_proj.lora_B.bias, but lora_bias=True \(6 such\)",
        RESTORE,
    ),
    "a part of a head": (
        {"modules_to_save": ["lm_head"]},
        short_head,
        r"head: lm_head.weight has shape \(10, 32\) in adapter_model.safetensors, and "
        r"\(287, 32\) in the model$",
        "copy all of",
    ),
    "the prefix": (
        {},
        without_prefix,
        "keys: 12 keys of adapter_model.safetensors are not as .*"
        "they must begin with 'base_model.model.'",
        "from loradrift.diagnose import merge_adapter\nmerge_adapter\\(",
    ),
}
for target in ("down_proj", "embed_tokens"):
    for how in ("or", "and"):
        reason = f"consistent: .*{target}: A and B are swapped {how} transposed"
        change, config = swapped(transposed=how == "and"), {"target_modules": [target, "q_proj"]}
        HARMED[f"places of {target} {how}"] = (config, change, reason, RESTORE)


@pytest.mark.parametrize("name", HARMED)
def test_what_is_lost_or_changed_is_named(name, model_folder, tmp_path):
    config, change, reason, advice = HARMED[name]
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3, **config)
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, change)
    found = diagnose(str(folder), None)
    assert found.exit_code == 1
    assert re.match(reason, found.advice.reason), found.advice.reason
    assert re.match(advice.format(folder=folder), found.advice.change), found.advice.change


def test_an_incomplete_adapter_is_not_merged(folder, model_folder, tmp_path):
    rewrite(folder, without("layers.1.self_attn.q_proj"))
    with pytest.raises(UserError, match=r"it holds nothing for model\.layers\.1\.self_attn\.q_pro"):
        merge_adapter(folder, str(model_folder), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_keys_with_the_adapters_name_are_judged_by_what_peft_makes_of_them(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda ts: {k.replace(".weight", ".default.weight"): x for k, x in ts.items()})
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, lambda ts: {k.replace(".default.", ".other."): x for k, x in ts.items()})
    found = diagnose(str(folder), None)
    assert found.exit_code == 1
    message = "must begin with 'base_model.model.' and not hold the adapter's name"
    assert message in found.advice.reason


def test_half_a_head(tmp_path):
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(vocab_size=64, intermediate_size=32, **size))
    model.save_pretrained(tmp_path / "bert")
    options = {"kind": AutoModelForSequenceClassification, "task_type": "SEQ_CLS"}
    options["target_modules"] = ["query", "value"]
    folder = write_adapter(tmp_path / "adapter", tmp_path / "bert", **options)
    assert diagnose(str(folder), None).exit_code == 0
    rewrite(folder, without("classifier.bias"))
    lost = "adapter_model.safetensors has lost classifier.bias, and holds classifier.weight beside"
    assert diagnose(str(folder), None).advice.reason == f"head: {lost} it"


def test_added_tokens_are_told_from_another_base(model_folder, tmp_path):
    model = load_base(model_folder)
    model.resize_token_embeddings(310)
    model = peft.get_peft_model(model, peft.LoraConfig(**PLAIN))
    model.save_pretrained(tmp_path / "adapter")
    found = diagnose(str(tmp_path / "adapter"), str(model_folder))
    added = "model.embed_tokens.weight has 310 rows in adapter_model.safetensors, and 287 in"
    assert added in found.advice.reason
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
