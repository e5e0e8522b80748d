"""What a score costs two methods: a brute-force formula, symmetries, and planted curves."""

import math

import numpy as np
import pytest

from loradrift.statistics import Curve, cost_of, envelope, matched, sign_flip, t_interval


@pytest.fixture
def curves():
    """Settings of two methods in any order, of which the envelopes leave some out."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.5, 0.9, (2, 9))
    return [Curve(own, 8 * own + rng.normal(0, 0.6, 9)) for own in scores]


def least(curve, score):
    """The least cost of a setting that reaches the score."""
    return min(c for s, c in zip(*curve, strict=True) if s >= score)


def test_an_envelope_is_what_no_other_setting_beats_in_both(curves):
    for curve in curves:
        places = [*zip(*curve, strict=True)]
        kept = {
            (s, c) for s, c in places
            if not any((a >= s and b <= c) and (a, b) != (s, c) for a, b in places)
        }  # fmt: skip
        own = envelope(*curve)
        assert {*zip(*own, strict=True)} == kept
        assert (np.diff(own.scores) > 0).all() and (np.diff(own.costs) > 0).all()
        # at a setting's own score it is the definition's; between two it is straight
        for score in own.scores:
            assert cost_of(own, score) == least(curve, score)
        halfway = (own.scores[:-1] + own.scores[1:]) / 2
        np.testing.assert_allclose(cost_of(own, halfway), (own.costs[:-1] + own.costs[1:]) / 2)


def test_of_equal_settings_one_is_kept_and_of_equal_costs_the_better():
    own = envelope([0.7, 0.7, 0.6, 0.8], [1, 1, 1, 2])
    assert [list(each) for each in own] == [[0.7, 0.8], [1, 2]]


def test_the_mean_difference_is_that_over_a_fine_grid(curves):
    found = matched(*curves)
    ends = [envelope(*curve).scores for curve in curves]
    assert found.low == max(each[0] for each in ends)
    assert found.high == min(each[-1] for each in ends)
    grid = np.linspace(found.low, found.high, 200_001)
    one, other = (cost_of(envelope(*curve), grid) for curve in curves)
    assert found.difference == pytest.approx((one - other).mean(), abs=1e-4)


def test_swapped_methods_mirror_and_a_shift_is_found_whatever_the_noise(curves):
    one, other = curves
    found, mirrored = matched(one, other), matched(other, one)
    assert mirrored == found._replace(difference=pytest.approx(-found.difference))
    moved = matched(one._replace(costs=one.costs + 0.4), other)
    assert moved.difference == pytest.approx(found.difference + 0.4)
    assert matched(one, one).difference == 0
    order = np.random.default_rng(0).permutation(9)
    shuffled = Curve(one.scores[order], one.costs[order])
    assert matched(shuffled, other) == found


def test_scores_beyond_the_bounds_take_no_part(curves):
    whole = matched(*curves)
    middle = (whole.low + whole.high) / 2
    halves = [matched(*curves, high=middle), matched(*curves, low=middle)]
    assert [(each.low, each.high) for each in halves] == [
        (whole.low, middle), (middle, whole.high)
    ]  # fmt: skip
    assert np.mean([each.difference for each in halves]) == pytest.approx(whole.difference)
    assert matched(*curves, low=whole.high + 1e-6) is None


def test_methods_without_a_common_score_have_no_difference_and_one_score_is_enough():
    assert matched(Curve([0.5, 0.6], [0, 1]), Curve([0.7, 0.8], [0, 1])) is None
    touching = matched(Curve([0.5, 0.7], [0, 1]), Curve([0.7, 0.8], [3, 4]))
    assert touching == (-2.0, 0.7, 0.7)


def test_what_is_no_curve_is_refused():
    with pytest.raises(ValueError, match="scores must be finite numbers and at least one, got"):
        envelope([0.5, math.nan], [1, 2])
    with pytest.raises(ValueError, match="a value for the same settings, got 2 and 1"):
        envelope([0.5, 0.6], [1])


ROWS, RATES = 400, 5
RATIO = 0.7


def accuracy(log_drift):
    """The curve that is planted: from chance to its ceiling over two orders of drift."""
    return 0.5 + 0.38 / (1 + np.exp(-(log_drift + 4.5) / 0.6))


def drawn(rng, seeds, moved=0.0, fall=0.25):
    """Accuracies (S, K) on rows, and log drifts, of a method on the planted curve.

    Its rates lie ``moved`` along the curve; the largest one loses ``fall``. Every seed has luck of
    its own, in both, and each run some more.
    """
    places = np.linspace(-6.3, -1.5, RATES) + moved
    rates = accuracy(places) - np.where(np.arange(RATES) == RATES - 1, fall, 0)
    luck = rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, 0.01, (seeds, RATES))
    log_drifts = places + rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.1, (seeds, RATES))
    return rng.binomial(ROWS, np.clip(rates + luck, 0, 1)) / ROWS, log_drifts


PLACED = {
    "the same rates": ({}, {}),
    "rates elsewhere on the curve": ({"moved": 0.45}, {}),
    "one method falls at its largest rate": ({"moved": 0.6}, {"fall": 0.0}),
}


def simulated(seeds, ratio, placed, repetitions):
    """Mean ratio found, and how often the interval holds the truth and the test finds any."""
    rng = np.random.default_rng([seeds, round(10 * ratio), len(placed)])
    logs, held, different = [], 0, 0
    for _ in range(repetitions):
        (scores, costs), (others, paid) = (drawn(rng, seeds, **own) for own in PLACED[placed])
        costs = costs + np.log(ratio)
        found = [
            matched(Curve(*treatment), Curve(*control), low=0.5).difference
            for treatment, control in zip(
                zip(scores, costs, strict=True), zip(others, paid, strict=True), strict=True
            )
        ]
        interval = t_interval(found)
        logs.append(interval.estimate)
        held += interval.low <= np.log(ratio) <= interval.high
        different += not interval.low <= 0 <= interval.high
    return np.exp(np.mean(logs)), held / repetitions, different / repetitions


@pytest.mark.parametrize(
    ("repetitions", "placed"),
    [
        (100, "the same rates"),
        *(pytest.param(1000, name, marks=pytest.mark.slow) for name in PLACED),
    ],
)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("ratio", [1.0, RATIO])
def test_planted_ratios_are_recovered_and_intervals_hold_them(seeds, ratio, placed, repetitions):
    """The table of docs/method.md (Frontier): ``pytest -m slow -s`` prints it."""
    found, held, different = simulated(seeds, ratio, placed, repetitions)
    print(
        f"| {placed} | {seeds} | {ratio} | {found:.3f} | {100 * held:.1f} | {100 * different:.1f} |"
    )
    error = math.sqrt(0.05 * 0.95 / repetitions)
    assert found == pytest.approx(ratio, rel=0.03 if repetitions > 100 else 0.06)
    room = 0.02 if repetitions == 1000 else 3 * error
    assert held == pytest.approx(0.95, abs=room)
    if ratio == 1:
        assert different <= 0.05 + 2 * error


def test_of_equal_methods_the_sign_flip_is_exact():
    """5 seeds have 32 flips: p is at most 2/32 as often as it says."""
    rng = np.random.default_rng(1)
    repetitions, low = 300, 0
    for _ in range(repetitions):
        pairs = [[Curve(*(each[0] for each in drawn(rng, 1))) for _ in range(2)] for _ in range(5)]
        low += sign_flip([matched(*pair).difference for pair in pairs]).p <= 2 / 32
    assert low / repetitions == pytest.approx(2 / 32, abs=3 * math.sqrt(0.06 / repetitions))
