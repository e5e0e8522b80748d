"""Sizes and spectra against NumPy; intruders that were planted, and none where none were."""

import math

import numpy as np
import pytest
import torch
from changes import dense, gauss, low_rank, real_weight, seeded

from loradrift.weights import LowRank, apply_to, norm, random_like, singular_values, spectrum, svd
from loradrift.weights.spectrum import effective_rank, relative_norm, stable_rank, top_energy


def base_weight(rows=64, columns=64, *, seed=0):
    """Random directions with clearly different singular values, from 1 down to 0.01."""
    U, _, V = svd(gauss(rows, columns, seed=seed))
    return U * torch.logspace(0, -2, U.shape[1], dtype=torch.float64) @ V.T


def count(change, base, **options):
    return spectrum.intruder_dimensions(change, base, svd(base), generator=seeded(), **options)


def test_relative_norm_and_what_is_refused():
    base, change = gauss(5, 7), low_rank(5, 7, seed=1)
    expected = np.linalg.norm(dense(change)) / np.linalg.norm(base)
    assert relative_norm(change, base) == pytest.approx(expected, rel=1e-12)
    assert relative_norm(2 * base.half(), base.half()) == pytest.approx(2)
    assert math.isnan(relative_norm(base, torch.zeros(5, 7)))
    with pytest.raises(ValueError, match="k must be positive, got 0"):
        count(base, base, k=0)
    with pytest.raises(ValueError, match=r"changes of one weight, got shapes \(5, 7\) and \(5, 3"):
        count(torch.zeros(5, 3), base)


def test_ranks_and_energy():
    values_K, shares = torch.tensor([4.0, 2.0, 1.0, 1.0, 0.0]), np.array([4, 2, 1, 1]) / 8
    assert effective_rank(values_K) == pytest.approx(np.prod(shares**-shares), rel=1e-12)
    assert effective_rank(torch.full((7,), 0.3)) == pytest.approx(7, rel=1e-12)
    assert effective_rank(torch.tensor([5.0, 0.0])) == pytest.approx(1)
    assert stable_rank(values_K) == pytest.approx(22 / 16)
    assert top_energy(values_K, 1) == pytest.approx(16 / 22)
    assert top_energy(values_K.flip(0), 2) == pytest.approx(20 / 22)
    assert top_energy(values_K, 99) == pytest.approx(1)
    nothing = torch.zeros(3)
    of_nothing = (effective_rank(nothing), stable_rank(nothing), top_energy(nothing, 1))
    assert all(map(math.isnan, of_nothing))
    # a factored change has the spectrum of its product
    change = low_rank(9, 6, 3, scale=2)
    exact, found = np.linalg.svd(dense(change), compute_uv=False), singular_values(change)
    assert stable_rank(found) == pytest.approx((exact**2).sum() / exact[0] ** 2, rel=1e-10)
    shares = exact[:3] / exact.sum()
    assert effective_rank(found) == pytest.approx(np.prod(shares**-shares), rel=1e-10)


@pytest.mark.parametrize("lanczos", [30, 512])
@pytest.mark.parametrize("shape", [(60, 60), (45, 50), (50, 45), (6, 9)], ids=str)
@pytest.mark.parametrize("factored", [True, False])
def test_largest_cosines_against_all_pairs(shape, factored, lanczos, monkeypatch):
    monkeypatch.setattr(spectrum, "LANCZOS", lanczos)
    rows, columns = shape
    base = base_weight(rows, columns)
    change = low_rank(rows, columns, 4, seed=1, scale=0.02)
    found = count(change if factored else torch.from_numpy(dense(change)), base)
    before = np.linalg.svd(base.numpy(), full_matrices=False)[0]
    after = np.linalg.svd(base.numpy() + dense(change), full_matrices=False)[0][:, :10]
    largest = [max(abs(u @ v) for u in before.T) for v in after.T]
    np.testing.assert_allclose(found.change.largest_cosines_T, largest, atol=1e-9)
    assert found.change.num_intruders == sum(cosine < 0.5 for cosine in largest)


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (96, 64)], ids=str)
def test_a_planted_intruder_is_found(shape):
    base = base_weight(*shape)
    U, _, V = svd(base)
    # In the span of the base directions, as everything is, but close to none of them.
    between = U.sum(dim=1, keepdim=True) / 8
    change = LowRank(3 * between, V[:, -1:].T)
    cosines = count(change, base).change.largest_cosines_T
    assert count(change, base).change.num_intruders == 1
    # The strongest base direction pulls the planted one by a ninth.
    assert cosines[0] == pytest.approx(1 / 8 * (1 + 1 / 9), abs=0.001) and cosines[1:].min() > 0.5
    assert count(change, base, threshold=0.05).change.num_intruders == 0
    for k, num_top in ((3, 3), (99, 64)):
        assert len(count(change, base, k=k).change.largest_cosines_T) == num_top


def test_scaling_an_existing_direction_or_nothing_is_no_intruder():
    base = base_weight()
    U, _, V = svd(base)
    for index in (0, 40):
        change = LowRank(5 * U[:, index : index + 1], V[:, index : index + 1].T)
        found = count(change, base).change
        assert found.num_intruders == 0 and found.largest_cosines_T[0] == pytest.approx(1)
    base = base_weight(50, 30)
    found = count(torch.zeros(50, 30), base)
    assert found.change.num_intruders == found.control.num_intruders == 0
    torch.testing.assert_close(found.change.largest_cosines_T, torch.ones(10).double())


@pytest.mark.parametrize("factored", [True, False])
def test_the_control_is_a_random_change_as_large(factored):
    base = base_weight(40, 30)
    change = low_rank(40, 30, seed=1, scale=0.05)
    change = change if factored else torch.from_numpy(dense(change))
    random = random_like(change, seeded())
    assert norm(random) == pytest.approx(norm(change), rel=1e-12)
    assert random.shape == change.shape
    rank = np.linalg.matrix_rank(apply_to(torch.zeros(40, 30), random))
    assert rank == (2 if factored else 30)
    after = np.linalg.svd(apply_to(base, random).numpy(), full_matrices=False)[0][:, :10]
    largest = np.abs(svd(base).U_OK.numpy().T @ after).max(axis=0)
    found = count(change, base)
    np.testing.assert_allclose(found.control.largest_cosines_T, largest, atol=1e-9)
    assert found.control.num_intruders == (largest < 0.5).sum() > 0


@pytest.mark.parametrize("shape", [(24, 24), (24, 40), (40, 16)], ids=str)
def test_the_null_is_a_random_direction_against_these_very_directions(shape):
    base = base_weight(*shape)
    U = svd(base).U_OK.numpy()
    random = np.random.default_rng(0).normal(size=(shape[0], 20_000))
    random /= np.linalg.norm(random, axis=0)
    largest = np.abs(U.T @ random).max(axis=0)
    null = count(torch.zeros(shape), base).null
    assert null.expected_num_intruders == pytest.approx(10 * (largest < 0.5).mean(), abs=0.5)
    assert null.largest_cosine == pytest.approx(largest.mean(), abs=0.01)
    for rows, expected in ((200, 8), (3, 0)):  # 3 are too few for the threshold
        null = count(torch.zeros(rows, 8), base_weight(rows, 8)).null
        assert null.expected_num_intruders == pytest.approx(expected)


def test_equal_seeds_give_equal_controls_and_nulls_and_leave_global_randomness_alone():
    base, change, state = base_weight(), gauss(64, 64, seed=1), torch.get_rng_state()
    one, two = (count(change, base) for _ in range(2))
    other = spectrum.intruder_dimensions(change, base, svd(base), generator=seeded(98))
    assert torch.equal(one.control.largest_cosines_T, two.control.largest_cosines_T)
    assert one.null == two.null != other.null
    assert not torch.equal(one.control.largest_cosines_T, other.control.largest_cosines_T)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_real_weight_against_itself_and_with_an_intruder(shared):
    base = real_weight(shared, "self_attn.k_proj")
    assert base.shape == (96, 192) and base.dtype == torch.float64
    U, S, V = svd(base)
    assert 0 < effective_rank(S) <= 96 and stable_rank(S) < effective_rank(S)
    assert count(torch.zeros_like(base), base).change.num_intruders == 0
    between = U.sum(dim=1, keepdim=True) / math.sqrt(96)
    planted = LowRank(3 * S[0] * between, V[:, 50:51].T)
    assert count(planted, base).change.num_intruders == 1
