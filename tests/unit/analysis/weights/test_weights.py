"""Planted weight changes come back, once; those that cannot be read are named in one line."""

import math
import shutil

import numpy as np
import planted_weights
import pytest
import torch
from adapter_cases import edit
from planted_weights import GATE, QUERY, RANK, SHRINK, base_weights, measured, write_study
from safetensors.torch import load_file, save_file

from loradrift.analysis.weights import modules
from loradrift.runs import Cell, read_record

LORA, FULL = (f"runs/drift/sst2/{method}/seed=1" for method in ("lora", "full_finetune"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two seeds of both methods on one base model."""
    return write_study(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def weights(planted):
    return measured(planted)


@pytest.fixture
def copied(planted, tmp_path):
    """The planted runs, to be damaged; nothing is remembered."""
    shutil.copytree(planted / "runs", tmp_path / "runs")
    return tmp_path


def row(weights, method, name):
    own = weights.modules.query("method == @method and module == @name and seed == 1")
    [found] = own.to_dict("records")
    return found


def norm(name):
    return float(torch.linalg.matrix_norm(base_weights()[f"{name}.weight"].double()))


def test_a_weight_that_grew_has_its_own_spectrum_and_no_intruder(weights):
    found = row(weights, "full_finetune", QUERY[0])
    values = torch.linalg.svdvals(base_weights()[f"{QUERY[0]}.weight"].double())
    energy = (values.square() / values.square().sum()).tolist()
    share = values / values.sum()
    assert found["relative_norm"] == pytest.approx(SHRINK, rel=1e-5)
    assert found["effective_rank"] == pytest.approx(float((-share * share.log()).sum().exp()), 1e-4)
    assert found["stable_rank"] == pytest.approx(1 / energy[0], rel=1e-4)
    assert found["energy_top_1"] == pytest.approx(energy[0], rel=1e-4)
    assert found["energy_top_r"] == pytest.approx(sum(energy[:RANK]), rel=1e-4)
    for side in ("left", "right"):
        assert found[f"overlap_{side}"] == pytest.approx(sum(energy[:10]), rel=1e-4)
    assert (found["overlap_left_random"], found["overlap_right_random"]) == (10 / 24, 10 / 16)
    assert (found["intruders"], found["directions"], found["lora_rank"]) == (0, 10, RANK)


@pytest.mark.parametrize(
    ("method", "layer", "size"), [("full_finetune", 1, 100.0), ("lora", 0, 50.0 * 4 / RANK)]
)
def test_new_directions_are_intruders_outside_of_the_base_subspace(weights, method, layer, size):
    found = row(weights, method, QUERY[layer])
    expected = {
        "relative_norm": size * math.sqrt(RANK) / norm(QUERY[layer]),
        "effective_rank": RANK, "stable_rank": RANK, "energy_top_1": 1 / RANK, "energy_top_r": 1,
        "overlap_left": 0, "overlap_right": 1,  # the base weight's own two first inputs
        "intruders": RANK, "layer": layer,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found["kind"] == "q_proj"
    assert 0 < found["intruders_control"] <= 10
    assert 0 <= found["intruders_random"] <= 10


def test_what_a_model_keeps_transposed_is_measured_like_any_other(weights, tmp_path, monkeypatch):
    """GPT-2's layers: the same weights, stored as inputs by outputs, below the same adapter."""
    save, ends = planted_weights.save_file, ("c_attn.weight", "c_fc.weight")

    def transposed(tensors, path):
        save({k: x.T.contiguous() if k.endswith(ends) else x for k, x in tensors.items()}, path)

    monkeypatch.setattr(planted_weights, "MODEL_TYPE", "gpt2")
    monkeypatch.setattr(planted_weights, "QUERY", [f"h.{i}.attn.c_attn" for i in (0, 1)])
    monkeypatch.setattr(planted_weights, "GATE", "h.1.mlp.c_fc")
    monkeypatch.setattr(planted_weights, "save_file", transposed)
    found = measured(write_study(tmp_path)).modules.sort_values(["method", "seed", "layer", "kind"])
    expected = weights.modules.replace({"q_proj": "c_attn", "gate_proj": "c_fc"})
    expected = expected.sort_values(["method", "seed", "layer", "kind"])
    columns = ["relative_norm", "overlap_left", "overlap_right", "overlap_left_random", "intruders"]
    assert list(found["kind"]) == list(expected["kind"])
    np.testing.assert_allclose(found[columns], expected[columns], rtol=1e-4, atol=1e-6)


def test_what_learned_nothing_or_was_changed_by_one_arm_has_no_rank_and_the_head_no_row(weights):
    nothing, alone = row(weights, "lora", QUERY[1]), row(weights, "full_finetune", GATE)
    assert nothing["relative_norm"] == nothing["intruders"] == 0
    assert math.isnan(nothing["effective_rank"]) and math.isnan(nothing["overlap_left"])
    assert alone["relative_norm"] == pytest.approx(1)
    assert math.isnan(alone["lora_rank"]) and math.isnan(alone["effective_rank"])
    assert set(weights.modules["module"]) == {*QUERY, GATE}
    assert set(weights.modules.query("module == @GATE")["method"]) == {"full_finetune"}


def test_the_summary_is_of_the_same_modules_for_both_methods(weights):
    assert list(weights.summary["modules"]) == [2, 2]
    assert list(weights.summary["seeds"]) == [2, 2]
    full = weights.summary.set_index("method").loc["full_finetune"]
    sizes = [SHRINK, 100 * math.sqrt(RANK) / norm(QUERY[1])]
    assert full["relative_norm"] == pytest.approx(np.mean(sizes), rel=1e-5)
    compared = weights.comparison.set_index("quantity").loc["relative_norm"]
    assert compared["difference"] == pytest.approx(compared["lora"] - compared["full_finetune"])
    assert compared["least_p"] == 0.5 <= compared["p_sign_flip"]


def test_drift_stands_against_the_norm_of_the_whole_update(weights):
    base = [norm(name) for name in (*QUERY, GATE)]
    changes = {
        "full_finetune": [SHRINK * base[0], 100 * math.sqrt(RANK), base[2]],
        "lora": [100 * math.sqrt(RANK)],
    }
    totals = weights.totals.set_index(["method", "seed"])
    for method, sizes in changes.items():
        expected = math.hypot(*sizes) / math.hypot(*base)
        assert totals.loc[(method, 1), "relative_norm"] == pytest.approx(expected, rel=1e-5)
    assert totals.loc[("full_finetune", 1), "drift"] > totals.loc[("lora", 1), "drift"] > 0
    assert totals["forgetting"].isna().all()  # runs that did not measure it


def test_one_seed_has_no_interval_and_forgetting_is_the_rise_of_the_loss(copied):
    record = read_record(copied / LORA)
    forgetting = {"forgetting/loss_before": 2.0, "forgetting/loss_after": 2.25}
    Cell(copied / LORA, record).save(metrics=record.metrics | forgetting)
    shutil.rmtree(copied / "runs/drift/sst2/lora/seed=2")
    found = measured(copied)
    forgetting = found.totals.set_index(["method", "seed"])["forgetting"]
    assert forgetting[("lora", 1)] == 0.25 and math.isnan(forgetting[("full_finetune", 1)])
    assert (found.comparison["seeds"] == 1).all() and found.comparison["ci_lower"].isna().all()
    assert found.comparison["difference"].notna().all()


def test_a_base_weight_is_decomposed_once_for_all_runs_and_not_again(copied, monkeypatch):
    shapes = []
    decompose = modules.weights.svd
    monkeypatch.setattr(modules.weights, "svd", lambda x: (shapes.append(x.shape), decompose(x))[1])
    first = measured(copied)
    assert len(shapes) == len(QUERY)  # of the modules that both methods change
    assert measured(copied).modules.equals(first.modules)
    assert len(shapes) == len(QUERY)
    (copied / LORA / "model/adapter_model.safetensors").touch()
    measured(copied)
    assert len(shapes) == 2 * len(QUERY)


def test_a_pairs_numbers_do_not_depend_on_the_others(copied, weights):
    shutil.rmtree(copied / LORA)
    alone = measured(copied).modules
    with_others = weights.modules.query("seed == 2").reset_index(drop=True)
    assert alone.equals(with_others)


def test_the_layer_is_the_first_number_of_a_name():
    assert modules.layer_of("model.layers.3.self_attn.q_proj") == 3
    assert modules.layer_of("transformer.h.11.attn.c_proj") == 11
    assert modules.layer_of("model.layers.0.mlp.experts.5.w1") == 0
    assert modules.layer_of("lm_head") is None


def problem_of(folder):
    """The only problem of the study's weights; all but the first seed is measured."""
    found = measured(folder)
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
def test_an_adapter_that_cannot_be_read_is_named_and_the_rest_measured(copied, changes, message):
    edit(copied / LORA / "model", **changes)
    problem = problem_of(copied)
    assert problem.startswith("weights of sst2 seed=1: ") and message in problem


@pytest.mark.parametrize(
    "name", [f"{FULL}/model/model.safetensors", f"{LORA}/model/adapter_model.safetensors"]
)
def test_a_damaged_file_is_named_and_the_rest_measured(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes()[:-10])
    problem = problem_of(copied)
    assert str(path) in problem and "cannot be read" in problem


def test_weights_that_are_not_finite_are_found_while_measuring(copied):
    path = copied / FULL / "model/model.safetensors"
    weights = load_file(path)
    weights[f"{QUERY[1]}.weight"][0, 0] = math.nan
    save_file(weights, path)
    assert f"{QUERY[1]}.weight holds NaN or infinity" in problem_of(copied)


def test_weights_drawn_at_random_were_never_stored(copied):
    record = read_record(copied / LORA)
    config = record.config | {"model": {"weights": "random"}}
    Cell(copied / LORA, record).save(config=config)
    message = "was drawn at random (model.weights=random) and is not stored"
    assert message in problem_of(copied)


def test_a_base_model_that_is_elsewhere_gone_or_another(tmp_path):
    study = write_study(tmp_path)
    edit(study / LORA / "model", base_model_name_or_path="base")  # beside the folder of the runs
    assert measured(study).not_analysed.empty
    edit(study / LORA / "model", base_model_name_or_path=str(study / "base"))
    (study / "base/config.json").write_text('{"other": 1}')
    [problem] = measured(study).not_analysed["not analysed"]
    assert "is no longer the base model that was trained" in problem
    shutil.rmtree(study / "base")
    found = measured(study)
    [problem] = found.not_analysed["not analysed"]
    assert problem.startswith("weights of sst2 seed=1 and 1 more: the base model ")
    assert "copy its folder here under this name" in problem
    assert all(table.empty for table in found[:4])
