"""Overlaps and projections against dense NumPy, with the values that chance gives."""

import math

import numpy as np
import pytest
import torch
from changes import dense, gauss, low_rank, real_weight, seeded

from loradrift.weights import LowRank, cosine, projection, random_like, subspace_overlap, svd

KINDS = [low_rank(), low_rank(rank=3, seed=1, scale=2.0), gauss(8, 6, seed=2)]
of_every_kind = pytest.mark.parametrize("x", KINDS, ids=["lora", "lora 3", "dense"])


@of_every_kind
@pytest.mark.parametrize("k", [1, 3, 6])
def test_energy_inside_the_top_subspaces(x, k):
    base = gauss(8, 6, seed=7).numpy()
    U, _, Vh = np.linalg.svd(base)
    left, right = U[:, :k] @ U[:, :k].T @ dense(x), dense(x) @ Vh[:k].T @ Vh[:k]
    expected = [(part**2).sum() / (dense(x) ** 2).sum() for part in (left, right)]
    overlap = subspace_overlap(x, svd(torch.from_numpy(base)), k)
    assert [overlap.left, overlap.right] == pytest.approx(expected, rel=1e-10)
    assert (overlap.expected_left, overlap.expected_right) == (k / 8, k / 6)


@of_every_kind
def test_random_changes_overlap_as_expected(x):
    base, draw = svd(gauss(8, 6, seed=7)), seeded(3)
    drawn = [subspace_overlap(random_like(x, draw), base, 2) for _ in range(400)]
    left, right = np.mean([(o.left, o.right) for o in drawn], axis=0)
    assert left == pytest.approx(drawn[0].expected_left, abs=0.02)
    assert right == pytest.approx(drawn[0].expected_right, abs=0.02)


def test_a_change_within_the_top_directions_of_a_weight_or_of_itself():
    base, x = svd(gauss(8, 6)), low_rank()
    overlap = subspace_overlap(LowRank(base.U_OK[:, :2], base.V_IK[:, 4:].T), base, 2)
    assert overlap.left == pytest.approx(1) and overlap.right == pytest.approx(0, abs=1e-20)
    overlap = subspace_overlap(x, svd(x), 2)
    assert (overlap.left, overlap.right) == pytest.approx((1, 1))


@of_every_kind
@pytest.mark.parametrize("y", KINDS, ids=["lora", "lora 3", "dense"])
def test_projections_of_every_kind(x, y):
    a, b = dense(x).ravel(), dense(y).ravel()
    (expected,), *_ = np.linalg.lstsq(b[:, None], a, rcond=None)
    found, angle = projection(x, y), a @ b / np.sqrt((a @ a) * (b @ b))
    assert found.coefficient == pytest.approx(expected, rel=1e-9)
    assert found.cosine == cosine(x, y) == pytest.approx(angle, rel=1e-9)
    assert found.cosine**2 == pytest.approx((expected * b) @ (expected * b) / (a @ a), rel=1e-9)


def test_a_cosine_knows_the_sign_and_not_the_scale_and_zeros_have_no_direction():
    nothing, x = torch.zeros(8, 6), low_rank()
    assert cosine(x, LowRank(x.B_OR, x.A_RI, 5.0)) == pytest.approx(-1)
    assert cosine(x, x) == pytest.approx(1)
    assert math.isnan(cosine(nothing, x)) and math.isnan(cosine(x, nothing))
    assert projection(nothing, x).coefficient == 0
    assert math.isnan(projection(x, nothing).coefficient)
    overlap = subspace_overlap(nothing, svd(gauss(8, 6)), 1)
    assert math.isnan(overlap.left) and math.isnan(overlap.right)


@pytest.mark.parametrize(
    ("change", "k", "message"),
    [
        (low_rank(), 0, "k must be positive, got 0"),
        (low_rank(), 7, "k must be at most 6, the directions there are, got 7"),
        (low_rank(6, 8), 1, r"vectors for shape \(6, 8\), got lengths 8 and 6"),
    ],
)
def test_what_is_refused(change, k, message):
    with pytest.raises(ValueError, match=message):
        subspace_overlap(change, svd(gauss(8, 6)), k)
    with pytest.raises(ValueError, match=r"got shapes \(6, 8\) and \(8, 6\)"):
        cosine(low_rank(6, 8), low_rank())


def test_on_a_real_weight(shared):
    base = real_weight(shared, "mlp.down_proj")
    whole = svd(base)
    assert subspace_overlap(base, whole, 10).left > 2 * 10 / 192
    overlap = subspace_overlap(low_rank(192, 512, 8), whole, 48)
    assert overlap.left == pytest.approx(48 / 192, abs=0.08)
    assert overlap.right == pytest.approx(48 / 512, abs=0.08)
