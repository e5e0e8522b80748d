"""Agreement of two judges against brute force, and intervals over questions."""

import numpy as np
import pytest

from loradrift.statistics import agreement


def judged(questions=12, each=8, seed=0, noise=20.0):
    rng = np.random.default_rng(seed)
    names = np.repeat([f"q{i}" for i in range(questions)], each)
    level = np.repeat(rng.normal(50, 25, questions), each)
    reference = np.clip(level + rng.normal(0, 15, len(names)), 0, 100).round()
    scores = np.clip(reference + rng.normal(5, noise, len(names)), 0, 100).round()
    return scores, reference, list(names)


def draw(seed=0):
    return np.random.default_rng(seed)


def test_figures_are_those_of_their_definitions():
    scores, reference, questions = judged()
    found = agreement(scores, reference, questions, draw())
    has, should = scores >= 50, reference >= 50
    table = np.array([[np.sum(has & should), np.sum(has & ~should)],
                      [np.sum(~has & should), np.sum(~has & ~should)]]) / len(scores)  # fmt: skip
    chance = np.sum(table.sum(0) * table.sum(1))
    assert found.accuracy.estimate == pytest.approx(np.trace(table))
    assert found.kappa.estimate == pytest.approx((np.trace(table) - chance) / (1 - chance))
    wins = [(a > b) + 0.5 * (a == b) for a in scores[should] for b in scores[~should]]
    assert found.auroc.estimate == pytest.approx(np.mean(wins))
    assert found.pearson.estimate == pytest.approx(np.corrcoef(scores, reference)[0, 1])
    assert found.difference.estimate == pytest.approx(np.mean(scores - reference))


def test_a_resample_is_whole_questions_drawn_with_repetition():
    scores, reference, questions = judged(questions=6, each=5)
    found = agreement(scores, reference, questions, draw(3), num_resamples=400)
    names, by_hand = sorted(set(questions)), []
    for counts in draw(3).multinomial(6, [1 / 6] * 6, 400):
        picked = np.concatenate(
            [np.flatnonzero(np.array(questions) == name) for name, n in
             zip(names, counts, strict=True) for _ in range(n)]
        )  # fmt: skip
        whole = ["all"] * len(picked)
        own = agreement(scores[picked], reference[picked], whole, draw(), num_resamples=1)
        by_hand.append([each.estimate for each in own])
    for place, each in enumerate(found):
        values = [row[place] for row in by_hand]
        values = [value for value in values if not np.isnan(value)]
        assert (each.low, each.high) == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_intervals_are_wide_where_few_questions_have_many_answers():
    scores, reference, questions = judged(questions=8, each=40)
    by_question = agreement(scores, reference, questions, draw()).difference
    alone = agreement(scores, reference, list(map(str, range(320))), draw()).difference
    # answers to one question share what the second judge adds to it
    shared = scores + np.repeat(draw(5).normal(0, 15, 8), 40)
    wide = agreement(shared, reference, questions, draw()).difference
    narrow = agreement(shared, reference, list(map(str, range(320))), draw()).difference
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    ratio = (by_question.high - by_question.low) / (alone.high - alone.low)
    assert 0.3 < ratio < 2


def test_what_two_judges_have_in_common_whatever_their_scales():
    scores, reference, questions = judged()
    first = agreement(scores, reference, questions, draw())
    moved = agreement(0.5 * scores + 30, reference, questions, draw())
    assert moved.pearson == pytest.approx(first.pearson)
    assert moved.auroc == pytest.approx(first.auroc)
    same = agreement(reference, reference, questions, draw())
    assert [each.estimate for each in same] == pytest.approx([1, 1, 1, 1, 0])
    order = draw(1).permutation(len(scores))
    turned = agreement(scores[order], reference[order], [questions[i] for i in order], draw())
    for mine, theirs in zip(turned, first, strict=True):
        assert mine == pytest.approx(theirs)


def test_what_is_not_defined_is_nan():
    constant = agreement([40.0] * 4, [10.0, 20.0, 30.0, 45.0], list("aabb"), draw())
    assert np.isnan(constant.pearson.estimate) and np.isnan(constant.kappa.estimate)
    assert np.isnan(constant.auroc.estimate) and constant.accuracy.estimate == 1
    one = agreement([10.0, 90.0], [0.0, 100.0], ["a", "a"], draw())
    assert one.kappa.estimate == 1 and np.isnan(one.kappa.low) and np.isnan(one.kappa.high)
    # the same constant, after rounding
    third = agreement([0.1 + 0.2, 0.3], [0.0, 1.0], ["a", "b"], draw())
    assert np.isnan(third.pearson.estimate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0], ["a"]), "one value per answer, got 1, 2 and 1"),
        (([np.nan], [1.0], ["a"]), "scores must be finite numbers"),
        (([], [], []), "scores must be finite numbers and at least one"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        agreement(*arguments, draw())
