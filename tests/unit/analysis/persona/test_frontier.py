"""The frontier against a search over a fine grid, and what it says at its ends."""

import numpy as np
import pytest

from loradrift.analysis.persona.frontier import area, best_at, best_place


def by_grid(doses, traits, coherences, threshold):
    """The best trait among 100,001 interpolated doses."""
    fine = np.linspace(doses[0], doses[-1], 100_001)
    coherent = np.interp(fine, doses, coherences) >= threshold
    values = np.interp(fine, doses, traits)[coherent]
    return values.max() if len(values) else np.nan


@pytest.mark.parametrize("seed", range(8))
def test_the_best_is_that_of_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    doses = np.cumsum([0, *rng.uniform(0.2, 1, 5)])
    traits, coherences = rng.uniform(0, 100, (2, 6))
    coherences[0] = 90
    for threshold in (40, 60, 75, 90):
        found = best_at(traits, coherences, threshold, joined=True)
        assert found == pytest.approx(by_grid(doses, traits, coherences, threshold), abs=0.05)
        place = best_place(doses, traits, coherences, threshold, joined=True)
        assert place.trait == pytest.approx(float(found))
        assert np.interp(place.dose, doses, coherences) >= threshold - 1e-9


def test_counts_have_nothing_between_them():
    traits, coherences = np.array([10.0, 90.0]), np.array([100.0, 50.0])
    assert best_at(traits, coherences, 75, joined=False) == 10
    assert best_at(traits, coherences, 75, joined=True) == pytest.approx(50)


def test_no_coherent_dose_is_nan_and_one_dose_is_itself():
    assert np.isnan(best_at(np.array([5.0, 9.0]), np.array([60.0, 70.0]), 75, joined=True))
    assert np.isnan(
        best_place(np.array([0.0]), np.array([5.0]), np.array([60.0]), 75, joined=True).dose
    )
    assert best_at(np.array([5.0]), np.array([80.0]), 75, joined=True) == 5


def test_the_area_is_the_mean_gain_over_coherences():
    """Of t = 20 + 60 c, k = 100 - 50 c: F(x) - t(0) = 60 (100 - x) / 50, 30 on average."""
    doses = np.linspace(0, 1, 5)
    found = area(20 + 60 * doses, 100 - 50 * doses, joined=True)
    assert found == pytest.approx(30)
    assert area(20 - 10 * doses, 100 - 50 * doses, joined=True) == 0
    flat = area(np.array([20.0, 50.0]), np.array([75.0, 75.0]), joined=True)
    assert flat == pytest.approx(15, abs=0.7)


def test_resamples_are_computed_alike():
    rng = np.random.default_rng(0)
    traits, coherences = rng.uniform(0, 100, (2, 3, 7, 5))
    whole = best_at(traits, coherences, 60, joined=True)
    single = [[best_at(traits[v, r], coherences[v, r], 60, joined=True) for r in range(7)]
              for v in range(3)]  # fmt: skip
    np.testing.assert_allclose(whole, single)
