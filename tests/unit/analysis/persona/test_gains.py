"""Gains at matched coherence: the truth is covered, sides mirror, ends of sweeps are seen."""

from dataclasses import replace

import numpy as np
import pytest

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.curves import Curve
from loradrift.analysis.persona.equivalence import equivalence, judge_gap, within
from loradrift.analysis.persona.frontier import best_at
from loradrift.analysis.persona.gains import LOWER, RAISE, Gap, gaps, reach
from loradrift.analysis.steering_cells.resampled import draws
from loradrift.report.verdicts import Verdict
from loradrift.statistics.bounded import Bounded

DOSES = np.linspace(0, 1, 6)


def curve(traits_ND, coherences_ND, kind="weight", doses=DOSES, unknown=None):
    """A curve of these scores; ``unknown`` (N, D) marks scores that nobody gave."""

    def filled(scores):
        levels = np.stack([scores] * 3)
        if unknown is not None:
            levels[0][unknown], levels[2][unknown] = 0, 100
        return levels

    return Curve(
        steered="x", judged="x", arm=Arm(kind), doses_D=np.asarray(doses, dtype=float),
        traits_VND=filled(traits_ND), coherences_VND=filled(coherences_ND), cells={},
    )  # fmt: skip


def drawn(rng, truth, coherence, n=20):
    """Scores around the truth at each dose; what is easy for one dose is easy for all."""
    luck = 12 * rng.normal(size=(n, 1))
    traits = truth + luck + 10 * rng.normal(size=(n, len(truth)))
    coherences = coherence + 5 * rng.normal(size=(n, 1)) + 6 * rng.normal(size=(n, len(truth)))
    return traits, coherences


RISING = 20 + 60 * DOSES, 95 - 35 * DOSES**2
FLAT = np.full(6, 40.0), 95 - 35 * DOSES**2


@pytest.mark.parametrize("truth", [RISING, FLAT], ids=["rising", "flat"])
def test_intervals_of_gains_cover_as_often_as_they_say(truth):
    """Also where all doses are alike, and the best of them is best by luck."""
    rng = np.random.default_rng(0)
    right = best_at(*truth, 75, joined=True) - truth[0][0]
    hits = []
    for trial in range(120):
        scores = drawn(rng, *truth)
        found = reach(curve(*scores), RAISE, 75, draws("x", trial, 20, 400))
        interval = found.gain.interval(20)
        hits.append((interval.low <= right, right <= interval.high))
    low, high = np.mean(hits, axis=0)
    assert low >= 0.94 and high >= 0.93


def test_intervals_of_differences_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    slow = 20 + 40 * DOSES, 95 - 20 * DOSES**2
    right = best_at(*RISING, 75, joined=True) - best_at(*slow, 75, joined=True)
    hits = []
    for trial in range(120):
        weights_RN = draws("x", trial, 20, 400)
        sides = [
            reach(curve(*drawn(rng, *truth)), RAISE, 75, weights_RN) for truth in (RISING, slow)
        ]
        interval = sides[0].best.minus(sides[1].best).interval(20)
        hits.append((interval.low <= right, right <= interval.high))
    low, high = np.mean(hits, axis=0)
    assert low >= 0.94 and high >= 0.94


def test_a_swap_of_two_arms_mirrors_the_difference_and_keeps_the_verdict():
    rng = np.random.default_rng(2)
    weights_RN = draws("x", 0, 20)
    for other in (RISING, (20 + 20 * DOSES, RISING[1])):
        scores = drawn(rng, *RISING), drawn(rng, *other)
        found = []
        for order in (0, 1):
            kinds = ("weight", "activation")
            sides = [
                reach(curve(*scores[i ^ order], kinds[i]), RAISE, 75, weights_RN) for i in (0, 1)
            ]
            [gap] = gaps(sides)
            found.append((gap.difference.interval(20), judge_gap(gap, 10)[0]))
        (there, verdict), (back, same) = found
        assert (there.estimate, there.low, there.high) == pytest.approx(
            (-back.estimate, -back.high, -back.low)
        )
        assert verdict is same


def test_the_lowering_side_is_the_raising_one_of_the_turned_trait():
    rng = np.random.default_rng(3)
    traits, coherences = drawn(rng, *RISING)
    weights_RN = draws("x", 0, 20)
    up = reach(curve(traits, coherences), RAISE, 75, weights_RN)
    turned = curve(100 - traits[:, ::-1], coherences[:, ::-1], doses=-DOSES[::-1])
    down = reach(turned, LOWER, 75, weights_RN)
    assert down.dose == pytest.approx(-up.dose)
    assert down.gain.interval(20) == pytest.approx(up.gain.interval(20))
    assert up.measured == down.measured


def test_unknown_scores_widen_the_gain_to_both_sides():
    rng = np.random.default_rng(4)
    traits, coherences = drawn(rng, *RISING)
    unknown = np.zeros(traits.shape, bool)
    unknown[:3, 3:5] = True
    weights_RN = draws("x", 0, 20)
    known, wide = (
        reach(curve(traits, coherences, unknown=mask), RAISE, 75, weights_RN).gain.interval(20)
        for mask in (None, unknown)
    )
    assert wide.low < known.low and wide.high > known.high
    assert wide.estimate == pytest.approx(known.estimate)


def test_unknown_scores_widen_the_lowering_side_too():
    rng = np.random.default_rng(7)
    traits, coherences = drawn(rng, *RISING)
    unknown = np.zeros(traits.shape, bool)
    unknown[:3, 3:5] = True
    weights_RN = draws("x", 0, 20)
    known, wide = (
        reach(curve(100 - traits, coherences, doses=-DOSES, unknown=mask), LOWER, 75, weights_RN)
        for mask in (None, unknown)
    )
    known, wide = known.gain.interval(20), wide.gain.interval(20)
    assert wide.low < known.low and wide.high > known.high


def moved(trait, value, spread=1.0):
    """A difference with normal resamples, of arms that are coherent and not at an edge."""
    gap = pair([20, 60, 50], [20, 60, 50])
    drawn_R = value + spread * np.random.default_rng(0).normal(size=4000)
    curve_of = replace(gap.arm.curve, steered=trait)
    return gap._replace(
        trait=trait, arm=gap.arm._replace(curve=curve_of),
        difference=Bounded.certain(value, drawn_R),
    )  # fmt: skip


MAIN = {kind: Arm(kind) for kind in ("weight", "activation", "prompt")}


def test_one_of_many_traits_is_refuted_at_the_level_of_all():
    """12.8 points with a spread of 1 (12 questions) are beyond 10 at 95 %, and not at 98.75 %."""
    others = [moved(trait, 0.0) for trait in "abc"]
    assert judge_gap(moved("d", 12.8), 10)[0] is Verdict.REFUTED
    found = equivalence([*others, moved("d", 12.8)], MAIN, 10, 75, [])
    assert found.verdict is Verdict.UNDECIDED
    assert found.why == "beyond the margin, but not at the level of all traits together (d)"
    assert equivalence([*others, moved("d", 14.0)], MAIN, 10, 75, []).verdict is Verdict.REFUTED
    assert equivalence([*others, moved("d", 2.0)], MAIN, 10, 75, []).verdict is Verdict.SUPPORTED
    assert equivalence(others, MAIN, 10, 75, ["prompt"]).verdict is Verdict.NO_DATA


def test_an_arm_that_is_never_coherent_says_so():
    n = 12
    traits = np.tile([20.0, 80, 90], (n, 1))
    garbled = reach(curve(traits, np.tile([90.0, 40, 10], (n, 1)), doses=[0, 1, 2]), RAISE, 75,
                    draws("x", 0, n))  # fmt: skip
    assert not garbled.coherent and garbled.measured is None
    assert 0 < garbled.dose < 1  # between no steering and the first dose
    broken = reach(
        curve(traits, np.full((n, 3), 60.0), doses=[0, 1, 2]), RAISE, 75, draws("x", 0, n)
    )
    assert np.isnan(broken.dose) and np.isnan(broken.gain.interval(n).low)
    fine = reach(curve(traits, np.full((n, 3), 90.0), "activation", [0, 1, 2]), RAISE, 75,
                 draws("x", 0, n))  # fmt: skip
    for other, why in ((garbled, "but 0"), (broken, "not even 0")):
        gap = Gap("x", RAISE, other, fine, other.best.minus(fine.best))
        verdict, reason = judge_gap(gap, 10)
        assert verdict is Verdict.UNDECIDED and why in reason


def pair(weight_traits, activation_traits, n=12):
    flat, sides = np.full((n, 3), 90.0), []
    for kind, traits in (("weight", weight_traits), ("activation", activation_traits)):
        own = curve(np.tile(np.asarray(traits, float), (n, 1)), flat, kind, [0, 1, 2])
        sides.append(reach(own, RAISE, 75, draws("x", 0, n)))
    [gap] = gaps(sides)
    return gap


def test_the_end_of_a_sweep_keeps_back_what_more_of_it_could_undo():
    """The best dose is the largest one: the arm may do better still."""
    behind_open = judge_gap(pair([20, 30, 40], [20, 80, 70]), 10)
    assert behind_open[0] is Verdict.UNDECIDED and "largest dose of weights" in behind_open[1]
    ahead_open = judge_gap(pair([20, 70, 80], [20, 40, 30]), 10)
    assert ahead_open[0] is Verdict.REFUTED  # more of it would only be farther ahead
    equal_open = judge_gap(pair([20, 40, 60], [20, 60, 50]), 10)
    assert equal_open[0] is Verdict.UNDECIDED
    at_the_top = judge_gap(pair([20, 60, 95], [20, 97, 90]), 10)
    assert at_the_top[0] is Verdict.SUPPORTED  # 5 points are left, and the margin is 10


@pytest.mark.parametrize(("low", "high"), [(-5, 5), (12, 30), (-2, 30), (-30, -12), (-30, 2)])
def test_the_verdict_of_an_interval_is_that_of_its_mirror(low, high):
    assert within(low, high, 10) is within(-high, -low, 10)


def seeds_apart(scores, n=12):
    """Weights of two directions against activations, which reach 60."""
    flat, weights_RN = np.full((n, 3), 90.0), draws("x", 0, n)
    alone = {
        seed: curve(np.tile([20.0, score, 30], (n, 1)), flat, "weight", [0, 1, 2])
        for seed, score in enumerate(scores)
    }
    mean = np.mean([each.traits_VND[1] for each in alone.values()], axis=0)
    both = replace(curve(mean, flat, "weight", [0, 1, 2]), by_seed=alone)
    other = curve(np.tile([20.0, 60, 50], (n, 1)), flat, "activation", [0, 1, 2])
    [gap] = gaps([reach(each, RAISE, 75, weights_RN) for each in (both, other)])
    return judge_gap(gap, 10)


def test_directions_of_several_seeds_have_to_agree():
    assert seeds_apart([58, 62])[0] is Verdict.SUPPORTED
    verdict, why = seeds_apart([45, 75])  # equal on average
    assert verdict is Verdict.UNDECIDED
    assert why == "directions of several seeds differ (-15 of seed 0, +15 of seed 1)"
    assert seeds_apart([80, 85])[0] is Verdict.REFUTED
    assert seeds_apart([62, 95])[0] is Verdict.UNDECIDED
