"""Where the remedy is code or a command, it is pasted as it is, and the adapter is healthy then."""

import shutil

import adapter_cases as cases
import pytest
import torch
from adapter_cases import WEIGHTS, diagnosed, edit, pasted, rewrite, without, write_adapter
from peft import PeftModel
from safetensors.torch import save_file

from loradrift.adapters import Check
from loradrift.config import UserError
from loradrift.diagnose import diagnose
from loradrift.diagnose.advice import advise

STARTS = {
    start: {"init_lora_weights": start, "convert": False, "size": 1e-3}
    for start in ("pissa", "olora")
}


@pytest.mark.parametrize("start", STARTS)
def test_a_start_that_the_json_denies_is_given_back(start, model_folder, tmp_path):
    """Nothing was merged: the base holds the adapter's factors because they were taken from it."""
    folder = write_adapter(tmp_path / 'an "adapter"', model_folder, **STARTS[start])
    edit(folder, init_lora_weights=True)
    found = diagnosed(folder, None, 1, reason=f"as init_lora_weights={start} starts it")
    assert "without PEFT" not in found.advice.change
    pasted(found.advice.change)
    diagnosed(folder)
    assert cases.read_config(folder)["init_lora_weights"] == start


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "my lora.safetensors"])
def test_weights_under_another_name_are_renamed(name, folder):
    (folder / WEIGHTS).rename(folder / name)
    reason = f"{name} is a safetensors file under another name"
    pasted(diagnosed(folder, None, 1, reason=reason).advice.change)
    diagnosed(folder)


def test_shards_are_joined(folder):
    whole = cases.tensors_of(folder)
    keys = sorted(whole)
    shards = [folder / f"adapter_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for shard, part in zip(shards, (keys[:5], keys[5:]), strict=True):
        save_file({key: whole[key] for key in part}, shard)
    (folder / WEIGHTS).unlink()
    found = diagnosed(folder, None, 1, reason="split into 2 shards, of which 2 are here: whole")
    shards[0].rename(folder.parent / "away")
    part = diagnosed(folder, None, 1, reason="split into 2 shards, of which 1 are here: not whole")
    assert part.advice.change.startswith("train it again, or copy all of")
    (folder.parent / "away").rename(shards[0])
    pasted(found.advice.change)
    diagnosed(folder)
    assert all(torch.equal(x, whole[key]) for key, x in cases.tensors_of(folder).items())


def test_which_of_two_files_of_weights_is_meant_is_not_guessed(folder):
    for name in ("mine.safetensors", "other.safetensors"):
        save_file(cases.tensors_of(folder), folder / name)
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()
    reason = "mine.safetensors and other.safetensors hold factors: which of them cannot be told"
    diagnosed(folder, None, 1, reason=reason, change="copy all of")


def test_adapters_further_below_are_named(folder):
    for name in ("mine", "other"):
        shutil.copytree(folder, folder.parent / "both" / name)
    with pytest.raises(UserError, match="the folders below it that hold one are mine, other"):
        diagnose(str(folder.parent / "both"), None)


def test_a_merge_that_cannot_be_judged_asks_for_the_base_before_it():
    advice = advise("adapter", Check("merged_once", None, "not judged: it may be in the base"))
    assert advice.healthy is None and "base=<the base before it held this adapter>" in advice.change


ROWS = {"trainable_token_indices": [1, 40]}


@pytest.mark.parametrize(
    ("config", "harm", "reason"),
    [
        ({}, {"exclude_modules": ["layers.1.self_attn.q_proj"]}, "is one of exclude_modules in"),
        ({}, {"exclude_modules": r".*layers\.0\..*"}, "is one of exclude_modules in"),
        (ROWS, {"trainable_token_indices": [1, 1]}, "names token 1 twice"),
    ],
)
def test_a_configuration_of_other_weights(config, harm, reason, model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    edit(folder, **harm)
    found = diagnosed(folder, None, 1, reason=reason, change="both of one save_pretrained()")
    assert found.advice.reason.startswith("consistent: ")


def test_tokens_beyond_the_embedding_end_in_a_line(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, **ROWS)
    edit(folder, trainable_token_indices=[1, 4000])
    diagnosed(folder, None, 1, reason="base: trainable_token_indices of adapter_config.json names")


def test_a_head_that_is_lost_beside_another_is_named(model_folder, tmp_path):
    config = {"modules_to_save": ["lm_head", "model.norm"]}
    folder = write_adapter(tmp_path / "adapter", model_folder, **config)
    diagnosed(folder)
    rewrite(folder, without("lm_head"))
    reason = f"head: {WEIGHTS} has lost all of lm_head: modules_to_save of adapter_config.json"
    diagnosed(folder, None, 1, reason=reason, change="from where the head was saved too")


def test_a_base_with_fewer_tokens_is_resized(model_folder, tmp_path):
    model = cases.load_base(model_folder)
    model.resize_token_embeddings(310)
    model.save_pretrained(tmp_path / "longer")
    embeddings = {"target_modules": ["embed_tokens", "q_proj"]}
    folder = write_adapter(tmp_path / "adapter", tmp_path / "longer", **embeddings)
    found = diagnosed(folder, model_folder, 1)
    longer = pasted(found.advice.change)["model"]
    assert longer.get_input_embeddings().weight.shape[0] == 310
    PeftModel.from_pretrained(longer, folder)


def merged_base(model_folder, adapter, out, times, modules=""):
    """The base with the adapter in those weights whose names hold ``modules``."""
    base = cases.load_base(model_folder)
    own, change = base.state_dict(), cases.load_adapter(adapter, model_folder).merge_and_unload()
    for name, weight in change.state_dict().items():
        if modules in name:
            own[name] += times * (weight - own[name])
    base.load_state_dict(own)
    shutil.copytree(model_folder, out)
    base.save_pretrained(out)
    return out


HELD = {"once": (1, "", "use it without PEFT"), "twice": (2, "", "base=<the base that"),
        "in one layer": (1, "layers.0.", "base=<the base that")}  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("how", HELD)
def test_a_base_that_holds_the_adapter_serves_alone_if_it_holds_it_once(
    how, named, model_folder, tmp_path
):
    """Whether the unmerged base, which the adapter names, is here or not."""
    times, modules, change = HELD[how]
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.3)
    base = merged_base(model_folder, folder, tmp_path / "merged", times, modules)
    if not named:
        edit(folder, base_model_name_or_path=str(base))
    found = diagnosed(folder, base, 1, reason="merged_once: ", change=change)
    assert ("without PEFT" in found.advice.change) == (how == "once")
