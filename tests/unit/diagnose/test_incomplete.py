"""Files that lack or misname a part: the check, and what to change, are those of that part."""

import re

import adapter_cases as cases
import peft
import pytest
from adapter_cases import CLASSIFIER, diagnosed, rewrite, without, write_adapter, write_base

AGAIN = "train it again, or copy all of {folder} from where it was saved whole$"
RESTORE = "restore adapter_config.json and adapter_model.safetensors"
HARMED = {
    "a layer": ({}, without("layers.1."), "keys: 3 adapted modules have no keys in", AGAIN),
    "a module": ({}, without("1.self_attn.q_proj"), "keys: 1 adapted modules have no keys", AGAIN),
    "a factor": ({}, without("1.self_attn.q_proj.lora_B"), "keys: adapter_model.safetensor", AGAIN),
    "rows of the embedding": (
        {"trainable_token_indices": [1, 2]}, without("trainable_tokens"),
        "keys: adapter_model.safetensors has lost the rows of trainable_token_indices", AGAIN),
    "the only head": (
        {"modules_to_save": ["lm_head"]}, without("lm_head"),
        "head: adapter_model.safetensors has lost all of lm_head: modules_to_save", "copy all of"),
    "the bias of B": (
        {"lora_bias": True}, without("lora_B.bias"),
        r".*lacks model.layers.0.mlp.down_proj.lora_B.bias, but lora_bias=True \(6 such\)",
        RESTORE),
    "a part of a head": (
        {"modules_to_save": ["lm_head"]},
        lambda ts: {key: x[:10] if "lm_head" in key else x for key, x in ts.items()},
        r"head: lm_head.weight has shape \(10, 32\) in adapter_model.safetensors, and "
        r"\(287, 32\) in the model$", "copy all of"),
    "the prefix": (
        {}, lambda ts: {key.removeprefix("base_model.model."): x for key, x in ts.items()},
        "keys: 12 keys of adapter_model.safetensors are not as .*they must begin with "
        "'base_model.model.'",
        "from loradrift.diagnose import merge_adapter\\nprint\\(merge_adapter\\("),
}  # fmt: skip
for target in ("down_proj", "embed_tokens"):
    for how in ("or", "and"):
        reason = f"consistent: .*{target}: A and B are swapped {how} transposed"
        change = cases.swapped(transposed=how == "and")
        config = {"target_modules": [target, "q_proj"]}
        HARMED[f"places of {target} {how}"] = (config, change, reason, RESTORE)


@pytest.mark.parametrize("name", HARMED)
def test_what_is_lost_or_changed_is_named(name, model_folder, tmp_path):
    config, change, reason, advice = HARMED[name]
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3, **config)
    diagnosed(folder)
    rewrite(folder, change)
    found = diagnosed(folder, None, 1)
    assert re.match(reason, found.advice.reason), found.advice.reason
    assert re.match(advice.format(folder=folder), found.advice.change), found.advice.change


def test_keys_with_the_adapters_name_are_judged_by_what_peft_makes_of_them(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    rewrite(folder, lambda ts: {k.replace(".weight", ".default.weight"): x for k, x in ts.items()})
    diagnosed(folder)
    rewrite(folder, lambda ts: {k.replace(".default.", ".other."): x for k, x in ts.items()})
    reason = "must begin with 'base_model.model.' and not hold the adapter's name"
    diagnosed(folder, None, 1, reason=reason)


def test_half_a_head(tmp_path):
    base = write_base(tmp_path / "bert", "bert", CLASSIFIER["kind"])
    options = CLASSIFIER | {"target_modules": ["query", "value"]}
    folder = write_adapter(tmp_path / "adapter", base, **options)
    diagnosed(folder)
    rewrite(folder, without("classifier.bias"))
    lost = "adapter_model.safetensors has lost classifier.bias, and holds classifier.weight beside"
    assert diagnosed(folder, None, 1).advice.reason == f"head: {lost} it"


def test_added_tokens_are_told_from_another_base(model_folder, tmp_path):
    model = cases.load_base(model_folder)
    model.resize_token_embeddings(310)
    model = peft.get_peft_model(model, peft.LoraConfig(**cases.PLAIN))
    model.save_pretrained(tmp_path / "adapter")
    reason = "model.embed_tokens.weight has 310 rows in adapter_model.safetensors, and 287 in"
    change = "\nmodel.resize_token_embeddings(310)"
    diagnosed(tmp_path / "adapter", model_folder, 1, reason=reason, change=change)


def test_a_base_without_its_tokenizers_files_is_judged_on_any_tokens(tmp_path):
    base = write_base(tmp_path / "base", "gpt2")
    options = {"target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}
    diagnosed(write_adapter(tmp_path / "adapter", base, size=0.3, **options))


UNUSUAL = {
    "target_parameters": {"target_parameters": ["q_proj.weight"], "target_modules": ["v_proj"]},
    "layer_replication": {"layer_replication": [(0, 2), (1, 2)]},
}


@pytest.mark.parametrize("config", UNUSUAL.values(), ids=UNUSUAL)
def test_what_cannot_be_judged_is_not_called_broken(config, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    found = diagnosed(folder, None, 2, reason="not judged")
    assert found.advice.change == "none: adapters of this kind cannot be diagnosed here"
