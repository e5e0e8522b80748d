"""Planted weight changes come back, and what is known of them is not measured again."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from planted_weights import GATE, QUERY, RANK, SHRINK, base_weights, measured, write_study

from loradrift.analysis.weights import modules


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
    path = copied / "runs/drift/sst2/lora/seed=1/run.json"
    record = json.loads(path.read_text())
    record["metrics"] |= {"forgetting/loss_before": 2.0, "forgetting/loss_after": 2.25}
    path.write_text(json.dumps(record))
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
    (copied / "runs/drift/sst2/lora/seed=1/model/adapter_model.safetensors").touch()
    measured(copied)
    assert len(shapes) == 2 * len(QUERY)


def test_a_pairs_numbers_do_not_depend_on_the_others(copied, weights):
    shutil.rmtree(copied / "runs/drift/sst2/lora/seed=1")
    alone = measured(copied).modules
    with_others = weights.modules.query("seed == 2").reset_index(drop=True)
    assert alone.equals(with_others)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.self_attn.q_proj", 3), ("transformer.h.11.attn.c_proj", 11),
        ("model.layers.0.mlp.experts.5.w1", 0), ("lm_head", None),
    ],
)  # fmt: skip
def test_the_layer_is_the_first_number_of_a_name(name, layer):
    assert modules.layer_of(name) == layer
