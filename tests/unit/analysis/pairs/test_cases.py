"""Which adapter and which base are meant, and whether they are there."""

import shutil
from pathlib import Path

import pytest
from adapter_cases import edit
from safetensors.torch import load_file, save_file

from loradrift.config import ModelConfig, UserError
from loradrift.models import load_backbone, model_fingerprint
from loradrift.runs import Cell, RunRecord, Status


@pytest.fixture
def run_folder(tmp_path, adapter, model, model_folder):
    """A run that trained ``adapter``."""

    def write(method="lora", status=Status.SUCCESS, **model_settings) -> Path:
        record = RunRecord(
            coordinates={"method": method, "task": "pretrain"},
            config={"model": {"path": str(model_folder), "weights": "pretrained"} | model_settings},
            status=status,
            fingerprints={"base_model": model_fingerprint(model, seed=0, cache=tmp_path)},
        )
        Cell(tmp_path / "run", record).save()
        if status == Status.SUCCESS and method == "lora":
            adapter(name="run/model")
        elif status == Status.SUCCESS:
            shutil.copytree(model_folder, tmp_path / "run/model")
        return tmp_path / "run"

    return write


def test_a_run_names_its_adapter_and_its_base_and_no_other_is_taken(
    compare, run_folder, tmp_path, model_folder
):
    folder = run_folder()
    found = compare(folder)
    assert found.case.base == str(model_folder) and found.warnings == []
    assert found.applied.loaded.kind == "run"
    moved = shutil.copytree(model_folder, tmp_path / "moved")
    assert compare(folder, moved).warnings == []
    random = ModelConfig(name="local", path=str(model_folder), weights="random")
    load_backbone(random, seed=7).lm.save_pretrained(moved)
    with pytest.raises(UserError, match=r"moved: base: .* trained on a base model with digest"):
        compare(folder, moved)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"method": "full_finetune"}, r"holds no adapter: .*; the run's method is full_finetune"),
        ({"status": Status.FAILED}, r"holds no adapter: .* its status failed"),
        ({"weights": "random"}, r"was drawn at random \(model.weights=random\)"),
    ],
)
def test_runs_without_adapter_or_base_are_named(compare, run_folder, run, message):
    with pytest.raises(UserError, match=message):
        compare(run_folder(**run))


def test_folders_without_adapter_or_base_are_named(compare, adapter, tmp_path):
    def refused(folder: Path, base: Path | None, message: str) -> None:
        with pytest.raises(UserError, match=message):
            compare(folder, base)

    empty, folder = tmp_path / "empty", adapter()
    empty.mkdir()
    refused(tmp_path / "none", None, r"adapter=.*none is no folder")
    refused(empty, None, r"holds no adapter: there is no adapter_config.json in .*empty")
    refused(folder, empty, r"^base=.*empty is no model: it has no config.json")
    refused(folder, Path("no/such"), r"^base=no/such is no folder here and cannot be had from the")
    edit(folder, base_model_name_or_path=None)
    refused(folder, None, r"names no base model: give base=<folder or hub name>")


def test_a_base_that_lacks_weights_is_refused(compare, adapter, model_folder, tmp_path):
    folder, base = adapter(), tmp_path / "base"
    shutil.copytree(model_folder, base)
    weights = load_file(base / "model.safetensors")
    weights = {key: x.clone() for key, x in weights.items() if "layers.1.mlp.up" not in key}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"base=.*: 1 parameters have no weights that fit, model.l"):
        compare(folder, base)
    (base / "model.safetensors").write_bytes(b"\0" * 50)
    with pytest.raises(UserError, match=r"base=.* cannot be loaded: "):
        compare(folder, base)
