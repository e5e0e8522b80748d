"""Finding both models, and refusing whatever does not fit to the last key."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loradrift.analysis.pairs.adapter import find_adapter, load_adapter, load_base
from loradrift.config import ModelConfig, UserError
from loradrift.models import load_backbone, model_fingerprint
from loradrift.runs import RunRecord, Status, write_record

FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def mutate(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def rename(weights: dict[str, torch.Tensor], new: Callable[[str], str]) -> None:
    for key in list(weights):
        weights[new(key)] = weights.pop(key)


def edit(folder: Path, **settings) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def load(model, folder: Path) -> None:
    load_adapter(load_backbone(model, seed=0), folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(FIRST), rf"lacks {FIRST}, which adapter_config.json promises"),
        (lambda w: w.update({f"{FIRST}x": w.pop(FIRST)}), rf"holds {FIRST}x, which has no place"),
        (
            lambda w: rename(w, lambda key: key.replace("model.model", "model.model.model")),
            rf"holds {FIRST.replace('model.model', 'model.model.model')} and 7 more",
        ),
        (
            lambda w: rename(w, lambda key: f"base_model.model.{key}"),
            r"holds base_model.model.base_model.model.model.layers.0.* which has no place",
        ),
        (
            lambda w: w.update({"base_model.model.score.weight": torch.zeros(2, 32)}),
            r"holds base_model.model.score.weight, which has no place",
        ),
        (
            lambda w: w.update({FIRST: w[FIRST].T.contiguous()}),
            rf"{FIRST} has shape \(32, 4\), and the base model and adapter_config.json make it "
            r"\(4, 32\)",
        ),
        (lambda w: w[FIRST].fill_(torch.nan), rf"{FIRST} holds NaN or infinity"),
        (lambda w: w.clear(), r"lacks .*lora_A.weight and 7 more"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_is_named(model, adapter, change, message):
    folder = adapter()
    mutate(folder, change)
    with pytest.raises(UserError, match=message):
        load(model, folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 8}, r"has shape \(4, 32\), and the base model .* make it \(8, 32\)"),
        ({"target_modules": ["q_proj"]}, r"v_proj.lora_A.weight and 3 more, which has no place"),
        ({"target_modules": ["nothing"]}, r"adapter_config.json does not fit the base model: "),
        ({"peft_type": "NO_SUCH"}, r"adapter_config.json does not fit the base model: "),
        (
            {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3},
            r"peft_type=PROMPT_TUNING changes the input, not the layers",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(model, adapter, settings, message):
    folder = adapter()
    edit(folder, **settings)
    with pytest.raises(UserError, match=message):
        load(model, folder)


def test_no_pickle_is_loaded_and_what_is_damaged_is_named(model, adapter):
    folder = adapter()
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"adapter_model.safetensors cannot be read"):
        load(model, folder)
    torch.save({}, path)
    with pytest.raises(UserError, match=r"adapter_model.safetensors is a pickle under the name"):
        load(model, folder)
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(UserError, match=r"adapter_model.bin is a pickle"):
        load(model, folder)


@pytest.mark.parametrize(
    "options", [{"target_modules": ["embed_tokens", "q_proj"]}, {"modules_to_save": ["norm"]}]
)
def test_embeddings_and_whole_modules_have_their_place(model, adapter, options):
    load(model, adapter(**options))


@pytest.fixture
def run_folder(tmp_path, adapter, model, model_folder) -> Callable[..., Path]:
    """A run that trained ``adapter``."""

    def write(method="lora", status=Status.SUCCESS, **model_settings) -> Path:
        folder = tmp_path / "run"
        record = RunRecord(
            coordinates={"method": method},
            config={"model": {"path": str(model_folder), "weights": "pretrained"} | model_settings},
            status=status,
            fingerprints={"base_model": model_fingerprint(model, seed=0, cache=tmp_path)},
        )
        write_record(folder, record)
        if status == Status.SUCCESS and method == "lora":
            adapter(name="run/model")
        elif status == Status.SUCCESS:
            shutil.copytree(model_folder, folder / "model")
        return folder

    return write


def test_a_run_names_its_adapter_and_base(run_folder, model_folder, tmp_path):
    source = find_adapter(str(run_folder()), None)
    assert source.adapter == tmp_path / "run/model" and source.base == str(model_folder)
    load_base(source, tmp_path)
    other = find_adapter(str(tmp_path / "run"), "other")
    assert other.base == "other" and other.fingerprint is None
    # model=tiny has no path of its own; the adapter says where its weights are.
    assert find_adapter(str(run_folder(path="")), None).base == str(model_folder)


def test_another_model_in_the_place_of_the_trained_one_is_named(run_folder, tmp_path, model_folder):
    moved = tmp_path / "moved"
    shutil.copytree(model_folder, moved)
    source = find_adapter(str(run_folder(path=str(moved))), None)
    load_base(source, tmp_path)
    mutate_base = ModelConfig(name="local", path=str(model_folder), weights="random")
    load_backbone(mutate_base, seed=7).lm.save_pretrained(moved)
    with pytest.raises(UserError, match=r"moved is not the model that the run trained on"):
        load_base(source, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "full_finetune"}, r"holds no adapter .*: the run's method is full_finetune"),
        ({"status": Status.FAILED}, r"holds no adapter .*: the run's status is failed"),
        ({"weights": "random"}, r"its base model was drawn at random \(model.weights=random\)"),
    ],
)
def test_runs_without_adapter_or_base_are_named(run_folder, settings, message):
    with pytest.raises(UserError, match=message):
        find_adapter(str(run_folder(**settings)), None)


def test_folders_without_adapter_or_base_are_named(adapter, tmp_path):
    with pytest.raises(UserError, match=r"adapter=.*none is no folder"):
        find_adapter(str(tmp_path / "none"), None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no adapter \(.*adapter_config.json is miss"):
        find_adapter(str(tmp_path / "empty"), "base")
    folder = adapter()
    edit(folder, base_model_name_or_path=None)
    with pytest.raises(UserError, match=r"names no base model: give base=<folder or hub name>"):
        find_adapter(str(folder), None)
    with pytest.raises(UserError, match=r"base=.*empty is no model: it has no config.json"):
        load_base(find_adapter(str(folder), str(tmp_path / "empty")), tmp_path)
    with pytest.raises(UserError, match=r"no/such is no folder here and cannot be had from the hu"):
        load_base(find_adapter(str(folder), "no/such"), tmp_path)
