"""Measures of latents against loops over pairs and a covariance, and their ends."""

import math

import numpy as np
import pytest

from loradrift.collapse.latents import first_component_share, latent_cosine


@pytest.fixture
def latents() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(0.4, 1.0, (12, 3, 5)) * rng.uniform(0.2, 3.0, 5)


def test_the_cosine_is_the_mean_over_pairs(latents):
    rows = latents.reshape(12, 15)
    pairs = [
        rows[i] @ rows[j] / math.sqrt(rows[i] @ rows[i]) / math.sqrt(rows[j] @ rows[j])
        for i in range(12)
        for j in range(12)
        if i != j
    ]
    assert latent_cosine(latents) == pytest.approx(np.mean(pairs), rel=1e-9)
    assert latent_cosine(latents) == pytest.approx(latent_cosine(7 * latents[::-1]))


def test_the_share_is_that_of_the_largest_eigenvalue(latents):
    values = np.linalg.eigvalsh(np.cov(latents.reshape(12, 15).T))
    expected = values[-1] / values.sum()
    assert first_component_share(latents) == pytest.approx(expected, rel=1e-9)
    moved = -2 * latents + np.arange(15).reshape(3, 5)
    assert first_component_share(moved) == pytest.approx(expected, rel=1e-9)


def test_latents_that_are_all_the_same():
    same = np.broadcast_to(np.linspace(0.1, 0.7, 6).reshape(1, 2, 3), (9, 2, 3))
    assert latent_cosine(same) == pytest.approx(1)
    assert math.isnan(first_component_share(same))
    one_number = same.copy()
    one_number[4, 1, 2] += 1e-3
    assert first_component_share(one_number) == pytest.approx(1)


def test_what_is_not_defined_is_nan(latents):
    assert math.isnan(latent_cosine(latents[:1])) and math.isnan(first_component_share(latents[:1]))
    latents[3] = 0
    with np.errstate(all="raise"):
        assert math.isnan(latent_cosine(latents))


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 6), (4,)])
@pytest.mark.parametrize("measure", [latent_cosine, first_component_share])
def test_another_shape_is_an_error(measure, shape):
    with pytest.raises(ValueError, match=r"latents must be \(N, M, Z\) with at least one row"):
        measure(np.zeros(shape))
