"""A pair is refused whose controls show what its runs cannot have done."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted import base, probe, write_pair

from loradrift.activations import ActivationStore, Pooling
from loradrift.analysis.drift.control_checks import check_controls, shuffled_tolerance
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.usable_pairs import readable
from loradrift.config import UserError
from loradrift.runs import Cell, read_record
from loradrift.similarity.functional.gram import cka_distance_of_grams, linear_gram

ROWS = 40


@pytest.fixture
def runs(tmp_path):
    """Two good pairs."""
    for seed in (1, 2):
        write_pair(tmp_path / "runs", seed, full=0.5, lora=0.2, num_rows=ROWS)
    return tmp_path / "runs"


def dump_again(folder, steps):
    """Write these dumps again: step -> what becomes of a layer of the base model."""
    origin = base(ROWS)
    with ActivationStore(folder / "activations") as store:
        store.prepare(probe(ROWS), Pooling(), list(origin))
        for step, change in steps.items():
            store.write(step, {name: change(x) for name, x in origin.items()})


def read(runs):
    pairing = readable(find_pairs(runs, None), [], runs.parent / "results")
    return [pair.seed for pair in pairing.pairs], pairing.problems


def noise(size, seed=5):
    return lambda x: x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def test_good_pairs_pass(runs):
    assert read(runs) == ([1, 2], [])


@pytest.mark.parametrize("size", [1.0, 0.1])
def test_runs_from_different_base_models_are_refused_by_name(runs, size):
    dump_again(runs / "drift/sst2/lora/seed=2", {0: noise(size)})
    seeds, [problem] = read(runs)
    assert seeds == [1] and problem.startswith("sst2 seed=2: its runs did not start from the same")
    assert "the rerun control" in problem and "must be about 0, at most" in problem


def test_another_base_in_one_layer_alone_is_found(runs):
    origin = base(ROWS)
    with ActivationStore(runs / "drift/sst2/lora/seed=2/activations") as store:
        store.prepare(probe(ROWS), Pooling(), list(origin))
        changed = {**origin, "layer_1": noise(0.1)(origin["layer_1"])}
        store.write(0, changed)
    seeds, [problem] = read(runs)
    assert seeds == [1] and "in layer 1" in problem


@pytest.mark.parametrize("method", ["lora", "full_finetune"])
@pytest.mark.parametrize(
    ("size", "said"), [(0.0, "did not move (its drift is 0 at step 100"), (5e-4, "its floor (")]
)
def test_a_run_that_hardly_moved_is_refused_whichever_arm_it_is(runs, method, size, said):
    dump_again(runs / f"drift/sst2/{method}/seed=2", {50: noise(size), 100: noise(size)})
    seeds, [problem] = read(runs)
    assert seeds == [1] and said in problem and method in problem


def controls(**columns):
    values = {"floor": 1e-6, "rerun": 0.0, "shuffled": 1.0} | columns
    return pd.DataFrame({"layer": [0, 1], **{key: [v, v] for key, v in values.items()}})


@pytest.mark.parametrize(
    ("columns", "refused"),
    [
        ({"rerun": 0.84, "floor": 0.84}, "rerun"),
        ({"rerun": 1.2e-5}, "rerun"),
        ({"rerun": 8e-6}, ""),
        ({"rerun": np.nan}, "rerun"),
        ({"floor": 1.01e-3}, "floor"),
        ({"floor": 0.9e-3}, ""),
        ({"shuffled": 0.4}, "shuffled"),
        ({"shuffled": 1.6}, "shuffled"),
        ({"shuffled": np.nan}, "shuffled"),
    ],
)
def test_the_limits(runs, columns, refused):
    pair = find_pairs(runs, None).pairs[0]

    def judge():
        check_controls(pair, controls(**columns), {"full_finetune": 0.03, "lora": 0.01})

    if refused:
        with pytest.raises(UserError, match=refused):
            judge()
    else:
        judge()


def test_rounding_in_bfloat16_is_no_other_base_model(runs):
    for method in ("lora", "full_finetune"):
        folder = runs / f"drift/sst2/{method}/seed=1"
        record = read_record(folder)
        record.config["trainer"]["precision"] = "bf16-mixed"
        Cell(folder, record).save()
    first, second = sorted(find_pairs(runs, None).pairs, key=lambda pair: pair.seed)
    drifts = {"lora": 1e-3, "full_finetune": 1e-3}
    check_controls(first, controls(rerun=5e-5, floor=6e-5), drifts)
    with pytest.raises(UserError, match="rerun"):
        check_controls(first, controls(rerun=2e-4, floor=6e-5), drifts)
    with pytest.raises(UserError, match="rerun"):
        check_controls(second, controls(rerun=5e-5, floor=6e-5), drifts)


@pytest.mark.parametrize("directions", [1, 16])
@pytest.mark.parametrize("num_rows", [16, 64])
def test_chance_alone_keeps_the_shuffled_control_within_its_tolerance(num_rows, directions):
    draw = torch.Generator().manual_seed(num_rows + directions)
    tolerance, outside, half = shuffled_tolerance(num_rows, 2), 0, 0
    for _ in range(400):
        distances = []
        for _ in range(2):
            x_ND = torch.randn(num_rows, directions, generator=draw)
            x_ND = x_ND @ torch.randn(directions, 16, generator=draw)
            order = torch.randperm(num_rows, generator=draw)
            grams = linear_gram(x_ND), linear_gram(x_ND[order])
            distances.append(cka_distance_of_grams(*grams).debiased)
        off = abs(np.median(distances) - 1)
        outside += off > tolerance
        half += off > tolerance / 8
    assert outside <= 2
    assert half or directions > 1  # and it is no wider than it must be
    assert shuffled_tolerance(4 * num_rows, 2) == pytest.approx(tolerance / 4)
