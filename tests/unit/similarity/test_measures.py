"""Each measure against its published formula, and against every claim it makes about itself."""

import math

import numpy as np
import pytest
import torch
from cases import hard_cases, noisy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loradrift.similarity import MEASURES
from loradrift.similarity.functional.cosine import cosine_floor
from loradrift.similarity.reference import reference

CASES = hard_cases()
NAMES = sorted(MEASURES)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_the_published_formula(name, case):
    x, y = CASES[case]
    assert MEASURES[name](x, y) == pytest.approx(reference(name, x, y), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_sides_of_different_width(name):
    x, y = CASES["n above d"][0], CASES["n above d"][1][:, :7]
    if MEASURES[name].equal_widths:
        with pytest.raises(ValueError, match="needs equal widths, got 16 and 7"):
            MEASURES[name](x, y)
        return
    assert MEASURES[name](x, y) == pytest.approx(reference(name, x, y), abs=1e-5)
    assert MEASURES[name](y, x) == pytest.approx(reference(name, y, x), abs=1e-5)


def changes(x, y, generator):
    def rotation(width):
        return torch.linalg.qr(torch.randn(width, width, generator=generator).double())[0]

    d = x.shape[1]
    same, order = rotation(d), torch.randperm(len(x), generator=generator)
    return {
        "rotation": (x @ same, y @ rotation(d)),
        "joint_rotation": (x @ same, y @ same),
        "scaling": (x * 3.7, y * 0.02),
        "translation": (x + torch.arange(d), y - 5 * torch.arange(d) ** 2),
        "row_order": (x[order], y[order]),
    }


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 60), d=st.integers(3, 30))
@pytest.mark.parametrize("name", NAMES)
def test_every_declared_invariance_holds(name, seed, n, d):
    generator = torch.Generator().manual_seed(seed)
    measure = MEASURES[name]
    # Two subspaces that must meet have canonical directions that are not unique; their weights are.
    assume(name != "pwcca" or n > 2 * d + 1)
    x = torch.randn(n, d, generator=generator).double()
    y = x + torch.randn(n, d, generator=generator).double()
    value, distance = measure(x, y), measure.distance(x, y)
    assert measure.lowest - 1e-9 <= value <= measure.highest + 1e-9
    made = changes(x, y, generator)
    for change in measure.invariances:
        other = made[change]
        assert measure(*other) == pytest.approx(value, abs=1e-6), change
        assert measure.distance(*other) == pytest.approx(distance, abs=1e-6), change
    assert measure(x, x) == pytest.approx(measure.identical, abs=1e-9)
    assert measure.distance(x, x) == pytest.approx(0, abs=1e-9)
    if measure.symmetric:
        assert measure(y, x) == pytest.approx(value, abs=1e-9)
    if measure.identical == 1:
        assert distance == pytest.approx(1 - value, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_declared_is_noticed(name):
    measure, generator = MEASURES[name], torch.Generator().manual_seed(4)
    x = torch.randn(80, 6, generator=generator).double() + torch.linspace(-2, 2, 6)
    y = x + torch.randn(80, 6, generator=generator).double()
    for change, other in changes(x, y, generator).items():
        seen = abs(measure(*other) - measure(x, y)) > 1e-3
        assert seen != (change in measure.invariances), change
    assert measure.symmetric or abs(measure(x, y) - measure(y, x)) > 1e-4
    stretch = torch.tensor([100.0, 1, 1, 1, 1, 1])
    assert measure(x * stretch, y) != pytest.approx(measure(x, y), abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_rows_score_worse(name):
    x, y = CASES["n above d"]
    y = x + 0.5 * y
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(2))]
    measure = MEASURES[name]
    assert measure.distance(x, shuffled) > 1.1 * measure.distance(x, y)


@pytest.mark.parametrize("shape", [(256, 512), (2000, 64)])
@pytest.mark.parametrize("size", [1e-4, 2e-5])
def test_a_drift_far_below_the_rounding_is_right_to_three_digits(size, shape):
    x, y = noisy(*shape, size)
    # In float64 the subtraction still has six digits.
    exact = 1 - reference("cka", x, y)
    assert 1e-10 < exact < 2e-8
    assert MEASURES["cka"].distance(x, y) == pytest.approx(exact, rel=1e-3)
    x, y = noisy(128, 256, 3e-5, massive=1000)  # beside a massive row
    assert MEASURES["cka"].distance(x, y) == pytest.approx(1 - reference("cka", x, y), rel=1e-2)


@pytest.mark.parametrize("name", ["svcca", "pwcca", "procrustes", "cosine", "rsa"])
def test_small_distances_keep_their_digits(name):
    near, nearer = (
        MEASURES[name].distance(*noisy(100, 10, size, dtype=torch.float64)) for size in (1e-4, 1e-6)
    )
    power = 1 if name == "procrustes" else 2
    if name != "rsa":  # whose ranks change one pair at a time
        assert nearer == pytest.approx(near * 1e-2**power, rel=1e-2)
    assert 0 <= nearer < near < 1e-3


@pytest.mark.parametrize("name", ["cka", "cka_biased"])
def test_both_ways_to_cka_agree_where_one_takes_over_from_the_other(name):
    generator = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(61, 20, generator=generator).double()
    y = x[:, :15] + 0.3 * torch.randn(61, 15, generator=generator).double()
    empty = torch.zeros(61, 1).double()
    tall, wide = (x, y), (torch.cat([x, empty], 1), y)  # 61 > 3 * 20, 61 < 3 * 21
    measure = MEASURES[name]
    assert measure(*tall) == pytest.approx(measure(*wide), rel=1e-12)
    assert measure.distance(*tall) == pytest.approx(measure.distance(*wide), rel=1e-12)


def test_independent_noise_fools_the_biased_value_only():
    x, y = torch.randn(2, 256, 2048, generator=torch.Generator().manual_seed(0))
    assert MEASURES["cka_biased"](x, y) == pytest.approx(0.89, abs=0.005)
    assert MEASURES["cka"](x, y) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("constant", [0.0, 0.1, 12345.678])
def test_a_side_without_variance_is_nan(name, constant):
    x, flat = torch.randn(40, 6), torch.full((40, 6), constant)
    if name == "cosine":
        assert constant != 0 or math.isnan(MEASURES[name](x, flat))
        return
    for sides in ((x, flat), (flat, x), (x.double(), flat.double()), (flat, flat)):
        assert math.isnan(MEASURES[name](*sides))
        assert math.isnan(MEASURES[name].distance(*sides))


def test_the_random_pair_floor_is_the_mean_over_pairs_that_do_not_belong_together():
    x, y = torch.randn(20, 5).double() + 1, torch.randn(20, 5).double() + 1
    cosines = torch.cosine_similarity(x[:, None], y[None], dim=2)
    assert cosine_floor(x, y) == pytest.approx(float(cosines[~torch.eye(20).bool()].mean()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(5, 2), torch.ones(6, 2), r"per example, got shapes \(5, 2\) and \(6, 2\)"),
        (torch.ones(5), torch.ones(5), r"one row per example, got shapes \(5,\) and \(5,\)"),
        (torch.rand(3, 2), torch.rand(3, 2), r"at least 4 rows and a column, got shape \(3, 2\)"),
        (torch.rand(5, 0), torch.rand(5, 0), r"at least 4 rows and a column, got shape \(5, 0\)"),
        (torch.rand(5, 2), torch.full((5, 2), math.nan), "finite values, got NaN or infinity"),
        (torch.full((5, 2), math.inf), torch.rand(5, 2), "finite values, got NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(name, x, y, message):
    for function in (MEASURES[name], MEASURES[name].distance):
        with pytest.raises(ValueError, match=message):
            function(x, y)


def test_neighbours_need_rows_and_large_finite_values_are_no_infinities():
    with pytest.raises(ValueError, match="knn .* needs at least 12 rows, got 11"):
        MEASURES["knn"](torch.rand(11, 3), torch.rand(11, 3))
    x = 3e38 * torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).sign()
    assert MEASURES["cka"](x, x) == pytest.approx(1)


@pytest.mark.parametrize("name", MEASURES)
def test_arrays_are_no_tensors(name):
    with pytest.raises(ValueError, match=r"expected a torch.Tensor, got ndarray"):
        MEASURES[name](np.eye(8), np.eye(8))
