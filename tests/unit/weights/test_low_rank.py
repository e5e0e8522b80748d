"""The factors give what the dense matrices give, and are never multiplied out."""

import numpy as np
import pytest
import torch
from changes import dense, low_rank

from loradrift.weights import LowRank, apply_to, inner, norm, singular_values, svd

SHAPES = [(6, 9, 2), (9, 6, 3), (5, 5, 5), (4, 7, 11), (1, 3, 2)]


@pytest.fixture(params=SHAPES, ids=str)
def pair(request) -> tuple[LowRank, LowRank]:
    rows, columns, rank = request.param
    return low_rank(rows, columns, rank), low_rank(rows, columns, rank + 1, seed=1, scale=-1.3)


def test_sums_inner_products_and_norms_of_every_kind(pair):
    x, y = pair
    X, Y = dense(x), dense(y)
    np.testing.assert_allclose(dense(x + y), X + Y, atol=1e-14)
    np.testing.assert_allclose(dense(x - y), X - Y, atol=1e-14)
    assert (x - y).rank == x.rank + y.rank and (x - y).shape == x.shape
    full_x, full_y = torch.from_numpy(X), torch.from_numpy(Y)
    products = [inner(a, b) for a, b in ((x, y), (full_x, y), (y, full_x), (full_x, full_y))]
    assert products == pytest.approx([np.trace(X.T @ Y)] * 4, rel=1e-12)
    norms = [norm(x), norm(x - (y - y)), norm(full_x)]
    assert norms == pytest.approx([np.sqrt((X**2).sum())] * 3, rel=1e-12)


def test_a_difference_keeps_its_digits_and_is_not_the_product_of_differences():
    x, y = low_rank(), low_rank(seed=1)
    product = x.scale * (x.B_OR - y.B_OR) @ (x.A_RI - y.A_RI)
    assert np.abs(dense(x - y) - product.numpy()).max() > 0.5
    x = low_rank(30, 20, 4, scale=0.7)
    nudge = torch.zeros_like(x.A_RI)
    nudge[0, 0] = 1e-11
    y = LowRank(x.B_OR, x.A_RI + nudge, x.scale)
    moved = (y.A_RI - x.A_RI)[0, 0]
    assert norm(y - x) == pytest.approx(0.7 * float(moved * x.B_OR[:, 0].norm()), rel=1e-3)


def test_singular_values_and_vectors(pair):
    for x in (*pair, torch.from_numpy(dense(pair[0]))):
        expected = np.linalg.svd(dense(x), compute_uv=False)
        U, S, V = (t.numpy() for t in svd(x))
        np.testing.assert_allclose(S, expected[: len(S)], atol=1e-12)
        np.testing.assert_allclose(expected[len(S) :], 0, atol=1e-12)
        np.testing.assert_allclose(U * S @ V.T, dense(x), atol=1e-12)
        np.testing.assert_allclose(U.T @ U, np.eye(len(S)), atol=1e-12)
        np.testing.assert_allclose(V.T @ V, np.eye(len(S)), atol=1e-12)
        accuracy = 1e-12 if isinstance(x, LowRank) else 1e-7
        np.testing.assert_allclose(singular_values(x), S, atol=accuracy)


def test_the_tuned_weight(pair):
    for x in pair:
        base = torch.arange(x.shape.numel()).reshape(x.shape).float()
        for change in (x, torch.from_numpy(dense(x))):
            np.testing.assert_allclose(apply_to(base, change), base.numpy() + dense(x), atol=1e-12)


def test_a_weight_that_would_not_fit_in_memory():
    x, y = low_rank(300_000, 200_000, 2), low_rank(300_000, 200_000, 3, seed=1)
    size = norm(x - y)
    assert size**2 == pytest.approx(norm(x) ** 2 + norm(y) ** 2 - 2 * inner(x, y), rel=1e-10)
    assert float(svd(x - y).S_K.norm()) == pytest.approx(size, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_factors_accumulate_in_float64(dtype):
    x = low_rank(64, 64, 8)
    B, A = x.B_OR.to(dtype), x.A_RI.to(dtype)
    narrow, wide = LowRank(B, A, 0.3), LowRank(B.double(), A.double(), 0.3)
    assert inner(narrow, narrow) == inner(wide, wide)
    base = B @ A
    assert inner(base, base) == float((base.double() ** 2).sum())
    expected = (base.double().numpy() * dense(wide)).sum()
    assert inner(base, narrow) == pytest.approx(expected, rel=1e-12)


def test_factors_and_changes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(O, R\) and A \(R, I\), got shapes \(3, 2\) and \(3,"):
        LowRank(torch.zeros(3, 2), torch.zeros(3, 4))
    x, y = low_rank(6, 9), low_rank(9, 6)
    base = torch.zeros(x.shape)
    for operation in (inner, LowRank.__add__, LowRank.__sub__, lambda _, y: apply_to(base, y)):
        with pytest.raises(ValueError, match=r"one weight, got shapes \(6, 9\) and \(9, 6\)"):
            operation(x, y)
