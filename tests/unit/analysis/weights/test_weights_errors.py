"""Weights that cannot be read are named in one line, and the rest is measured."""

import json
import math
import shutil

import pytest
from planted_weights import QUERY, measured, write_study
from safetensors.torch import load_file, save_file


@pytest.fixture
def study(tmp_path):
    """Two seeds of both methods on one base model."""
    return write_study(tmp_path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"base_model_name_or_path": "no/where"}, "the base model no/where is not on this machine"),
        ({"peft_type": "IA3"}, "peft_type must be LORA, got IA3"),
        ({"r": 7}, "do not fit the rank 7 of adapter_config.json"),
    ],
)
def test_an_adapter_that_cannot_be_read_is_named_and_the_rest_measured(study, edit, message):
    path = study / "runs/drift/sst2/lora/seed=1/model/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    found = measured(study)
    [problem] = found.not_analysed["not analysed"]
    assert problem.startswith("weights of sst2 seed=1: ") and message in problem
    assert set(found.modules["seed"]) == set(found.totals["seed"]) == {2}


@pytest.mark.parametrize(
    "name",
    ["full_finetune/seed=1/model/model.safetensors", "lora/seed=1/model/adapter_model.safetensors"],
)
def test_a_damaged_file_is_named_and_the_rest_measured(study, name):
    path = study / "runs/drift/sst2" / name
    path.write_bytes(path.read_bytes()[:-10])
    found = measured(study)
    [problem] = found.not_analysed["not analysed"]
    assert str(path) in problem and "cannot be read" in problem
    assert set(found.modules["seed"]) == {2}


def test_weights_that_are_not_finite_are_found_while_measuring(study):
    path = study / "runs/drift/sst2/full_finetune/seed=1/model/model.safetensors"
    weights = load_file(path)
    weights[f"{QUERY[1]}.weight"][0, 0] = math.nan
    save_file(weights, path)
    found = measured(study)
    [problem] = found.not_analysed["not analysed"]
    assert f"{QUERY[1]}.weight holds NaN or infinity" in problem
    assert set(found.modules["seed"]) == {2}


def test_a_model_that_is_gone_is_one_line_for_all_its_pairs(tmp_path):
    write_study(tmp_path)
    shutil.rmtree(tmp_path / "base")
    found = measured(tmp_path)
    [problem] = found.not_analysed["not analysed"]
    assert problem.startswith("weights of sst2 seed=1 and 1 more: the base model ")
    assert "copy its folder here under this name" in problem
    assert all(table.empty for table in found[:4])


def test_another_model_in_its_place_is_refused(tmp_path):
    write_study(tmp_path, seeds=(1,))
    (tmp_path / "base/config.json").write_text('{"other": 1}')
    [problem] = measured(tmp_path).not_analysed["not analysed"]
    assert "is no longer the base model that was trained" in problem


def test_weights_drawn_at_random_were_never_stored(study):
    path = study / "runs/drift/sst2/lora/seed=1/run.json"
    record = json.loads(path.read_text())
    record["config"]["model"] = {"weights": "random"}
    path.write_text(json.dumps(record))
    [problem] = measured(study).not_analysed["not analysed"]
    assert "was drawn at random (model.weights=random) and is not stored" in problem


def test_a_relative_base_is_found_beside_the_runs_folder(tmp_path):
    write_study(tmp_path, seeds=(1,))
    path = tmp_path / "runs/drift/sst2/lora/seed=1/model/adapter_config.json"
    edited = json.loads(path.read_text()) | {"base_model_name_or_path": "base"}
    path.write_text(json.dumps(edited))
    assert measured(tmp_path).not_analysed.empty
