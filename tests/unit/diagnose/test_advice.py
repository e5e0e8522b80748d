"""Where the remedy is code or a command, it is pasted as it is, and the adapter is healthy then."""

import shutil

import adapter_cases as cases
import pytest
from adapter_cases import WEIGHTS, diagnosed, edit, pasted, rewrite, without, write_adapter
from peft import PeftModel

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
