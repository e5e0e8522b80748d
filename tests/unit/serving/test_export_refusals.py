"""What is not exported: over what is there already, on a full disk, what cannot be used."""

import shutil

import pytest
from adapter_cases import (
    edit,
    pickled,
    rewrite,
    tensors_of,
    truncate,
    write_adapter,
    write_base,
    zero_b,
)
from safetensors import SafetensorError
from transformers import AutoModel

from loradrift.config import UserError
from loradrift.serving import export_write
from loradrift.serving.export import export


def foreign(out, folder):
    out.mkdir()
    (out / "mine.txt").write_text("precious")


def another(out, folder):
    export(write_adapter(folder.parent / "other", folder.parent / "base", size=0.1), out)


def damaged(out, folder):
    export(folder, out)
    (out / "export.json").write_text("{}")


def emptied(out, folder):
    shutil.rmtree(export(folder, out).merged)


def tampered(out, folder):
    """One bit of one weight, in a file of the same size."""
    path = export(folder, out).merged / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


OCCUPIED = {
    foreign: "out=.* must be a new folder, and holds something else already",
    another: "out=.* holds another export, of .*other: give another folder",
    damaged: r"export.json is damaged \('.*'\): delete .* and export again",
    emptied: "merged holds no weights any more: delete .* and export again",
    tampered: r"merged/model.safetensors has changed since it was exported: delete .* and export",
    lambda out, folder: out.write_text("mine"): "out must be a folder, or the name of a new one",
}


@pytest.mark.parametrize("occupy", OCCUPIED)
def test_what_is_there_already_is_never_written_over(occupy, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "base")
    folder, out = write_adapter(tmp_path / "adapter", tmp_path / "base"), tmp_path / "out"
    occupy(out, folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=OCCUPIED[occupy]):
        export(folder, out)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["adapter", "adapter/x", "base/x/y"])
def test_nothing_is_written_into_what_is_exported(place, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", tmp_path / "base")
    with pytest.raises(UserError, match=r"out=.* must be outside of .*, which is exported from"):
        export(folder, tmp_path / place)


def test_a_full_disk_is_one_line_and_leaves_nothing(model_folder, tmp_path, monkeypatch):
    def full(*args):
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(export_write, "write_merged", full)
    folder = write_adapter(tmp_path / "adapter", model_folder)
    with pytest.raises(UserError, match=r"out=.*out cannot be written: no space is left on its"):
        export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


HARMS = {
    "a pickle": (pickled, "adapter_model.safetensors is a pickle under the name of"),
    "half a file": (truncate, "adapter_model.safetensors cannot be read"),
    "zero B": (zero_b, "is not applied to .*: lora_B: B is zero in 6 of 6 modules"),
    "no base": (
        lambda f: edit(f, base_model_name_or_path="nowhere/at_all"),
        "base=nowhere/at_all .*; give base=<folder>"),
    "a base that is gone": (
        lambda f: edit(f, base_model_name_or_path="/gone/base"),
        "base=/gone/base is no model: .*adapter_config.json names it: give base=<folder or hub"),
    "another kind": (
        lambda f: edit(f, peft_type="IA3"), "peft_type must be LORA, got IA3"),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMS)
def test_an_adapter_that_cannot_be_used_is_refused(name, model_folder, tmp_path):
    harm, message = HARMS[name]
    folder = write_adapter(tmp_path / "adapter", model_folder)
    harm(folder)
    with pytest.raises(UserError, match=message):
        export(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_another_base_is_refused(model_folder, tmp_path):
    other = write_base(tmp_path / "other", "llama", hidden_size=64)
    folder = write_adapter(tmp_path / "adapter", model_folder)
    with pytest.raises(UserError, match="is not applied to .*other: .* an adapter of another base"):
        export(folder, tmp_path / "out", base=str(other))


def test_an_adapter_of_no_language_model_is_refused(tmp_path):
    size = {"max_position_embeddings": 64, "type_vocab_size": 1}
    base = write_base(tmp_path / "bert", "bert", kind=AutoModel, **size)
    config = {"kind": AutoModel, "target_modules": ["query", "value"]}
    folder = write_adapter(tmp_path / "adapter", base, size=0.2, **config)
    with pytest.raises(UserError, match="must be an adapter of a causal language model, and is"):
        export(folder, tmp_path / "out")


def test_an_adapter_saved_from_the_inner_transformer_is_refused(model_folder, tmp_path):
    folder = write_adapter(tmp_path / "adapter", model_folder, size=0.2, task_type="CAUSAL_LM")
    inner = {key: key.replace("model.model.model.", "model.model.") for key in tensors_of(folder)}
    rewrite(folder, lambda ts: {inner[key]: x for key, x in ts.items()})
    with pytest.raises(UserError, match=r"the model has model.layers.0.*: the adapter belongs to"):
        export(folder, tmp_path / "out")
