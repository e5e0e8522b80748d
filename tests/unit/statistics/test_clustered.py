"""Means over seeds and clustered rows: against plain formulas, mirrored, and how often they err."""

import numpy as np
import pytest
from scipy import stats

from loradrift.statistics.bounded import ONE_UNIT
from loradrift.statistics.clustered import Resampling
from loradrift.statistics.values import ONE_SEED


def clustered(rng, num_clusters, per_cluster=3):
    """Names of clusters, and rows whose part that they share is as large as their own."""
    names = np.repeat(np.arange(num_clusters), per_cluster)
    return names, rng.normal(size=num_clusters)[names] + rng.normal(size=len(names))


def test_the_estimate_is_the_mean_of_all_values():
    values = np.arange(12.0).reshape(2, 6)
    found = Resampling("aabbbc", seed=0, num_resamples=50).mean(values)
    assert found.value == values.mean()
    assert found.seeds_S.tolist() == [2.5, 8.5]
    without_a = values[:, 2:].mean()
    assert found.left_out_C[0] == pytest.approx(without_a)


def test_the_jackknife_is_the_variance_of_the_mean_for_clusters_of_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    found = Resampling(range(40), seed=0).mean(values)
    assert found.variance.value == pytest.approx(values.var(ddof=1) / 40)
    bootstrap = found.resamples_R.std()
    assert bootstrap == pytest.approx(values.std() / np.sqrt(40), rel=0.05)


def test_rows_of_one_cluster_leave_and_come_together():
    rng = np.random.default_rng(1)
    names, values = clustered(rng, 50, per_cluster=8)
    apart = Resampling(range(len(names)), seed=0).mean(values).interval()
    together = Resampling(list(names), seed=0).mean(values).interval()
    assert together.high - together.low > 1.7 * (apart.high - apart.low)


def test_a_constant_difference_has_no_width_however_rows_and_seeds_vary():
    rng = np.random.default_rng(2)
    drawn = Resampling(list(np.repeat(range(20), 3)), seed=0, num_resamples=200)
    one = rng.normal(size=(3, 60))
    interval = drawn.mean(one + 4).minus(drawn.mean(one)).interval()
    assert interval.low == pytest.approx(4) and interval.high == pytest.approx(4)


@pytest.mark.parametrize("seed", range(5))
def test_the_opposite_difference_has_the_mirrored_interval(seed):
    rng = np.random.default_rng(seed)
    drawn = Resampling(list(np.repeat(range(15), 2)), seed=seed, num_resamples=300)
    one, two = (drawn.mean(rng.normal(size=(3, 30))) for _ in range(2))
    there, back = one.minus(two).interval(), two.minus(one).interval()
    assert there.estimate == -back.estimate
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_equal_seeds_of_draws_give_equal_resamples():
    values = np.random.default_rng(0).normal(size=(3, 20))
    found = [Resampling(range(20), seed=s).mean(values).resamples_R.tolist() for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("num_seeds", "seed_spread"), [(3, 0.0), (3, 0.6), (2, 0.6), (5, 0.3)])
def test_the_interval_covers_the_truth_with_few_seeds(num_seeds, seed_spread):
    """The bootstrap alone covers it in 75 % of cases where three seeds decide."""
    rng, rounds, held, narrow = np.random.default_rng(3), 300, 0, 0
    for _ in range(rounds):
        names, rows_N = clustered(rng, 40)
        seeds_S1 = seed_spread * rng.normal(size=(num_seeds, 1))
        values = rows_N + seeds_S1 + 0.3 * rng.normal(size=(num_seeds, len(rows_N)))
        found = Resampling(list(names), seed=0, num_resamples=400).mean(values)
        interval = found.interval()
        held += interval.low < 0 < interval.high
        ends = np.quantile(found.resamples_R, [0.025, 0.975])
        narrow += ends[0] < 0 < ends[1]
    assert held / rounds > 0.93
    assert narrow <= held


def test_one_seed_has_an_interval_over_rows_and_says_so():
    values = np.random.default_rng(0).normal(size=(1, 60))
    drawn = Resampling(list(np.repeat(range(20), 3)), seed=0)
    interval = drawn.mean(values).interval()
    assert interval.note == ONE_SEED and interval.low < values.mean() < interval.high
    without = drawn.mean(values[0]).interval()
    assert without.note == "" and without[1:3] == interval[1:3]


def test_a_side_without_seeds_is_the_same_for_all_seeds():
    rng = np.random.default_rng(4)
    drawn = Resampling(range(30), seed=0)
    arm, rung = rng.normal(2, 1, (3, 30)), rng.normal(1, 1, 30)
    found = drawn.mean(arm).minus(drawn.mean(rung))
    assert found.seeds_S == pytest.approx(arm.mean(1) - rung.mean())
    ratio = drawn.mean(arm).over(drawn.mean(rung))
    assert ratio.value == pytest.approx(arm.mean() / rung.mean())
    assert ratio.seeds_S == pytest.approx(arm.mean(1) / rung.mean())


def test_few_clusters_have_wider_intervals():
    """Against the t interval of the clusters' means."""
    values = np.random.default_rng(5).normal(size=6)
    interval = Resampling(range(6), seed=0, num_resamples=20_000).mean(values).interval()
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert interval.high - interval.low == pytest.approx(high - low, rel=0.2)


def test_what_has_no_interval_says_why():
    one = Resampling(["a", "a"], seed=0).mean([[1.0, 2.0], [2.0, 4.0]]).interval()
    assert np.isnan(one.low) and one.note == ONE_UNIT
    drawn = Resampling(range(4), seed=0)
    ratio = drawn.mean([1.0, 2, 3, 4]).over(drawn.mean([0.0, 0, 0, 1])).interval()
    assert np.isnan(ratio.low) and "not defined" in ratio.note


def test_wrong_shapes_are_refused():
    drawn = Resampling(range(4), seed=0, num_resamples=10)
    with pytest.raises(ValueError, match=r"of 4 rows, got shape \(1, 3\)"):
        drawn.mean([1.0, 2, 3])
    with pytest.raises(ValueError, match="the same seeds, got 2 and 3"):
        drawn.mean(np.ones((2, 4))).minus(drawn.mean(np.ones((3, 4))))
    with pytest.raises(ValueError, match="at least one row, got none"):
        Resampling([], seed=0)
    with pytest.raises(ValueError, match="finite"):
        drawn.mean([1.0, 2, 3, np.nan])
