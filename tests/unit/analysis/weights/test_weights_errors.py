"""Weights that cannot be read are named in one line, and the rest is measured."""

import json
import math
import shutil

import pytest
from adapter_cases import edit
from planted_weights import QUERY, measured, write_study
from safetensors.torch import load_file, save_file

LORA, FULL = (f"runs/drift/sst2/{method}/seed=1" for method in ("lora", "full_finetune"))


@pytest.fixture
def study(tmp_path):
    """Two seeds of both methods on one base model."""
    return write_study(tmp_path)


def problem_of(study):
    """The only problem of the study's weights; all but the first seed is measured."""
    found = measured(study)
    assert set(found.modules["seed"]) == set(found.totals["seed"]) == {2}
    [problem] = found.not_analysed["not analysed"]
    return problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model_name_or_path": "no/where"}, "the base model no/where is not on this machine"),
        ({"peft_type": "IA3"}, "peft_type must be LORA, got IA3"),
        ({"r": 7}, "do not fit the rank 7 of adapter_config.json"),
    ],
)
def test_an_adapter_that_cannot_be_read_is_named_and_the_rest_measured(study, changes, message):
    edit(study / LORA / "model", **changes)
    problem = problem_of(study)
    assert problem.startswith("weights of sst2 seed=1: ") and message in problem


@pytest.mark.parametrize(
    "name", [f"{FULL}/model/model.safetensors", f"{LORA}/model/adapter_model.safetensors"]
)
def test_a_damaged_file_is_named_and_the_rest_measured(study, name):
    path = study / name
    path.write_bytes(path.read_bytes()[:-10])
    problem = problem_of(study)
    assert str(path) in problem and "cannot be read" in problem


def test_weights_that_are_not_finite_are_found_while_measuring(study):
    path = study / FULL / "model/model.safetensors"
    weights = load_file(path)
    weights[f"{QUERY[1]}.weight"][0, 0] = math.nan
    save_file(weights, path)
    assert f"{QUERY[1]}.weight holds NaN or infinity" in problem_of(study)


def test_weights_drawn_at_random_were_never_stored(study):
    path = study / LORA / "run.json"
    record = json.loads(path.read_text())
    record["config"]["model"] = {"weights": "random"}
    path.write_text(json.dumps(record))
    message = "was drawn at random (model.weights=random) and is not stored"
    assert message in problem_of(study)


def test_a_model_that_is_gone_is_one_line_for_all_its_pairs(study):
    shutil.rmtree(study / "base")
    found = measured(study)
    [problem] = found.not_analysed["not analysed"]
    assert problem.startswith("weights of sst2 seed=1 and 1 more: the base model ")
    assert "copy its folder here under this name" in problem
    assert all(table.empty for table in found[:4])


def test_another_model_in_its_place_is_refused(study):
    (study / "base/config.json").write_text('{"other": 1}')
    [problem] = measured(study).not_analysed["not analysed"]
    assert "is no longer the base model that was trained" in problem


def test_a_relative_base_is_found_beside_the_runs_folder(study):
    edit(study / LORA / "model", base_model_name_or_path="base")
    assert measured(study).not_analysed.empty
