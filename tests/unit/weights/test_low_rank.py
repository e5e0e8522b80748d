"""The factors give what the dense matrices give, and are never multiplied out."""

import numpy as np
import pytest
import torch

from loradrift.weights import LowRank, inner, norm, singular_values, svd
from loradrift.weights.low_rank import apply_to

SHAPES = [(6, 9, 2), (9, 6, 3), (5, 5, 5), (4, 7, 11), (1, 3, 2)]


def draw(rows, columns, rank, *, seed=0, scale=0.7) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(rows, rank, generator=generator),
        torch.randn(rank, columns, generator=generator),
        scale,
    )


def dense(x: LowRank) -> np.ndarray:
    """The product, entry by entry."""
    return x.scale * np.einsum("or,ri->oi", x.B_OR.numpy(), x.A_RI.numpy())


@pytest.fixture(params=SHAPES, ids=str)
def pair(request) -> tuple[LowRank, LowRank]:
    rows, columns, rank = request.param
    return draw(rows, columns, rank), draw(rows, columns, rank + 1, seed=1, scale=-1.3)


def test_sum_and_difference_are_exact(pair):
    x, y = pair
    np.testing.assert_allclose(dense(x + y), dense(x) + dense(y), atol=1e-14)
    np.testing.assert_allclose(dense(x - y), dense(x) - dense(y), atol=1e-14)
    assert (x - y).rank == x.rank + y.rank and (x - y).shape == x.shape


def test_a_difference_is_not_the_product_of_differences():
    x, y = draw(6, 9, 2), draw(6, 9, 2, seed=1)
    product = 0.7 * (x.B_OR - y.B_OR) @ (x.A_RI - y.A_RI)
    assert np.abs(dense(x - y) - product.numpy()).max() > 0.5


def test_inner_products_of_every_kind(pair):
    x, y = pair
    expected = np.trace(dense(x).T @ dense(y))
    full = torch.from_numpy(dense(x))
    assert inner(x, y) == pytest.approx(expected, rel=1e-12)
    assert inner(full, y) == pytest.approx(expected, rel=1e-12)
    assert inner(y, full) == pytest.approx(expected, rel=1e-12)
    assert inner(full, torch.from_numpy(dense(y))) == pytest.approx(expected, rel=1e-12)


def test_norm(pair):
    x, y = pair
    expected = np.sqrt((dense(x) ** 2).sum())
    assert norm(x) == pytest.approx(expected, rel=1e-12)
    assert norm(x - (y - y)) == pytest.approx(expected, rel=1e-12)
    assert norm(torch.from_numpy(dense(x))) == pytest.approx(expected, rel=1e-12)


def test_the_norm_of_a_small_difference_keeps_its_digits():
    x = draw(30, 20, 4)
    nudge = torch.zeros_like(x.A_RI)
    nudge[0, 0] = 1e-11
    y = LowRank(x.B_OR, x.A_RI + nudge, x.scale)
    moved = (y.A_RI - x.A_RI)[0, 0]
    expected = 0.7 * float(moved * x.B_OR[:, 0].norm())
    assert norm(y - x) == pytest.approx(expected, rel=1e-3)


def test_singular_values_and_vectors(pair):
    for x in pair:
        expected = np.linalg.svd(dense(x), compute_uv=False)
        U, S, V = (t.numpy() for t in svd(x))
        np.testing.assert_allclose(S, expected[: len(S)], atol=1e-12)
        np.testing.assert_allclose(expected[len(S) :], 0, atol=1e-12)
        np.testing.assert_allclose(U * S @ V.T, dense(x), atol=1e-12)
        np.testing.assert_allclose(U.T @ U, np.eye(len(S)), atol=1e-12)
        np.testing.assert_allclose(V.T @ V, np.eye(len(S)), atol=1e-12)
        np.testing.assert_allclose(singular_values(x), S, atol=1e-12)


def test_the_svd_of_a_dense_change_has_the_same_form(pair):
    full = torch.from_numpy(dense(pair[0]))
    U, S, V = svd(full)
    torch.testing.assert_close(U * S @ V.T, full)
    torch.testing.assert_close(singular_values(full), S)


def test_the_tuned_weight(pair):
    for x in pair:
        base = torch.arange(x.shape.numel()).reshape(x.shape).float()
        for change in (x, torch.from_numpy(dense(x))):
            np.testing.assert_allclose(apply_to(base, change), base.numpy() + dense(x), atol=1e-12)


def test_a_weight_that_would_not_fit_in_memory():
    x, y = draw(300_000, 200_000, 2), draw(300_000, 200_000, 3, seed=1)
    difference = x - y
    assert norm(difference) ** 2 == pytest.approx(
        norm(x) ** 2 + norm(y) ** 2 - 2 * inner(x, y), rel=1e-10
    )
    assert float(svd(difference).S_K.norm()) == pytest.approx(norm(difference), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_factors_accumulate_in_float64(dtype):
    x = draw(64, 64, 8)
    narrow = LowRank(x.B_OR.to(dtype), x.A_RI.to(dtype), 0.3)
    wide = LowRank(x.B_OR.to(dtype).double(), x.A_RI.to(dtype).double(), 0.3)
    assert inner(narrow, narrow) == inner(wide, wide)
    base = x.B_OR.to(dtype) @ x.A_RI.to(dtype)
    assert inner(base, base) == float((base.double() ** 2).sum())
    expected = (base.double().numpy() * dense(wide)).sum()
    assert inner(base, narrow) == pytest.approx(expected, rel=1e-12)


def test_factors_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"B \(O, R\) and A \(R, I\), got shapes \(3, 2\) and \(3,"
    ):
        LowRank(torch.zeros(3, 2), torch.zeros(3, 4))


def test_changes_of_different_weights():
    message = r"changes of one weight, got shapes \(6, 9\) and \(9, 6\)"
    x, y = draw(6, 9, 2), draw(9, 6, 2)
    for operation in (inner, LowRank.__add__, LowRank.__sub__):
        with pytest.raises(ValueError, match=message):
            operation(x, y)
    with pytest.raises(ValueError, match=message):
        apply_to(torch.zeros(6, 9), y)
