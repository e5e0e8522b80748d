"""Bases, records and adapters that cannot be judged are named."""

import json
import re
import shutil

import pytest
import torch
from adapter_cases import rewrite, write_adapter, zero_b
from safetensors.torch import load_file, save_file

from loradrift.config import UserError
from loradrift.diagnose import diagnose, merge_adapter


@pytest.fixture
def base(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "base")


def test_a_base_that_cannot_be_used_is_named(folder, base):

    def unjudged(message: str) -> None:
        found = diagnose(str(folder), str(base))
        assert found.exit_code == 2 and message in found.advice.reason, found.advice.reason
        json.dumps(found.to_json(), allow_nan=False)

    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"hidden_size": "x"}))
    unjudged(f"base={base} cannot be loaded: Validation error for field 'hidden_size'")
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    unjudged("cannot be loaded: its weights have other shapes than its config.json says")
    (base / "config.json").write_text('{"model_type": "t5"}')
    unjudged("is an encoder with a decoder (t5)")
    (base / "config.json").write_text(json.dumps(config))
    weights = {key: torch.nan * x for key, x in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    unjudged(f"base={base}: its outputs are NaN or infinite")
    shutil.copy(folder / "adapter_config.json", base)
    unjudged("holds an adapter of its own (adapter_config.json)")


def test_an_adapter_that_overflows(folder, model_folder):
    rewrite(folder, lambda tensors: {key: 1e30 * x for key, x in tensors.items()})
    found = diagnose(str(folder), str(model_folder))
    assert found.exit_code == 1
    assert "the outputs are NaN or infinite with the adapter" in found.advice.reason
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coordinates": {}}, "coordinates.method is missing or of another type"),
        ({"coordinates": []}, "coordinates must be an object, got list"),
        ({"config": None}, "config must be an object, got NoneType"),
        ({"config": {"model": "x"}}, "config.model is missing or of another type"),
        ({"fingerprints": {"base_model": 3}}, "fingerprints.base_model is missing or of another"),
        ({"certificate": []}, "certificate.files is missing or of another type"),
        ({"certificate": {"files": {"x": 3}}}, "certificate.files is missing or of another type"),
    ],
)
def test_a_damaged_record_is_named(changes, message, model_folder, tmp_path):
    write_adapter(tmp_path / "run/model", model_folder)
    record = {"schema_version": 1, "status": "success", "config": {"model": {}}}
    record |= {"coordinates": {"method": "lora", "task": "sst2"}} | changes
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    for folder in ("run", "run/model"):
        with pytest.raises(UserError, match=r"run.json is damaged.*" + re.escape(message)):
            diagnose(str(tmp_path / folder), str(model_folder))


def test_what_cannot_be_merged_is_named(folder, base, tmp_path):
    for out in (folder, base):
        with pytest.raises(UserError, match=r"out=.* must be another folder than the adapter's"):
            merge_adapter(folder, str(base), out)
    zero_b(folder)
    with pytest.raises(UserError, match="changes no output: there is nothing to merge"):
        merge_adapter(folder, str(base), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
