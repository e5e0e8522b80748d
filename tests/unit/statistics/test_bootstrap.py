"""The bootstrap against its exact moments, and how it draws."""

import numpy as np
import pytest

from loradrift.statistics import hierarchical_bootstrap


def table(seeds=4, examples=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, examples)) + 2


def variance_by_hand(values):
    """Of the mean of rows and columns drawn with repetition, independently of each other."""
    s, n = values.shape
    centred = values - values.mean()
    rows, columns = centred.mean(1), centred.mean(0)
    inner = centred - rows[:, None] - columns
    return rows.var() / s + columns.var() / n + np.square(inner).mean() / (s * n)


def test_the_spread_is_the_one_of_independent_whole_draws():
    tasks = {"a": table(), "b": table(3, 50, seed=1)}
    result = hierarchical_bootstrap(tasks, np.random.default_rng(0), 40_000)
    expected = sum(map(variance_by_hand, tasks.values())) / 4
    assert result.resamples_R.var() == pytest.approx(expected, rel=0.03)
    centre = np.mean([tasks["a"].mean(), tasks["b"].mean()])
    assert result.estimate == pytest.approx(centre)
    assert result.resamples_R.mean() == pytest.approx(centre, abs=4 * (expected / 40_000) ** 0.5)
    low, high = np.percentile(result.resamples_R, [2.5, 97.5])
    assert (result.low, result.high) == pytest.approx((low, high))
    # Only one of two examples counts: the mean is how often it was drawn, as a half.
    result = hierarchical_bootstrap({"a": [[0.0, 1.0]]}, np.random.default_rng(1), 20_000)
    values, counts = np.unique(result.resamples_R, return_counts=True)
    np.testing.assert_array_equal(values, [0, 0.5, 1])
    np.testing.assert_allclose(counts / 20_000, [0.25, 0.5, 0.25], atol=0.015)


def test_equal_generators_give_equal_intervals_of_either_sign_and_any_scale():
    def interval(seed, values):
        return hierarchical_bootstrap({"a": values}, np.random.default_rng(seed), 500)

    first, again, other = (interval(seed, table()) for seed in (3, 3, 4))
    turned = interval(3, -2 * table())
    np.testing.assert_array_equal(first.resamples_R, again.resamples_R)
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)
    assert (turned.low, turned.high) == pytest.approx((-2 * first.high, -2 * first.low))
    equal = interval(6, np.full((1, 5), 0.3))
    assert (equal.low, equal.high) == pytest.approx((0.3, 0.3))


class Counted(np.random.Generator):
    """Remembers how many numbers each call has drawn."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.sizes = []

    def integers(self, *args, **options):
        drawn = super().integers(*args, **options)
        self.sizes.append(drawn.size)
        return drawn


def test_many_resamples_are_drawn_at_a_time_and_no_more_than_a_cache_holds():
    # That makes it fast: a call for each resample, or one for all of them, takes ten times as long.
    draw = Counted(7)
    tasks = {name: table(5, 1000, seed) for seed, name in enumerate("abc")}
    result = hierarchical_bootstrap(tasks, draw)
    assert len(result.resamples_R) == 10_000
    assert sum(draw.sizes) == 3 * 10_000 * (5 + 1000)
    assert max(draw.sizes) <= 2**16 and len(draw.sizes) < 500


@pytest.mark.parametrize(
    ("by_task", "options", "message"),
    [
        ({}, {}, "by_task must have at least one task, got none"),
        ({"rte": [1, 2]}, {}, r"rte must have shape \(seeds, examples\), got \(2,\)"),
        ({"rte": [[1, np.nan]]}, {}, "rte must be finite numbers"),
        ({"rte": [[1.0]]}, {"num_resamples": 0}, "num_resamples must be positive, got 0"),
        ({"rte": [[1.0]]}, {"confidence": 0}, r"confidence must be in \(0, 1\), got 0"),
    ],
)
def test_errors_of_the_bootstrap(by_task, options, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_bootstrap(by_task, np.random.default_rng(0), **options)
