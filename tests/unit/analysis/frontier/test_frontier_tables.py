"""From runs on disk to ratios: planted factors come back, mirrored arms mirror, nothing is lost."""

import numpy as np
import pytest
from planted_frontier import (
    CURVE,
    FROZEN,
    FULL,
    LORA,
    LUCK,
    write_arm,
    write_frozen,
    write_point,
)

from loradrift.analysis.frontier.parts import PARTS
from loradrift.analysis.frontier.ratios import LESS, MORE
from loradrift.analysis.frontier.tables import tabulate
from loradrift.statistics import t_interval

DIVERGED = "the loss became nan at step 7: lower method.optim.lr, raise method.optim.warmup_ratio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """LoRA drifts 0.7 times as far on the same curve, and diverges at a fifth rate."""
    folder = tmp_path_factory.mktemp("frontier")
    write_arm(folder / "runs", FULL)
    write_arm(folder / "runs", LORA, factor=0.7)
    write_frozen(folder / "runs")
    for seed in (1, 2):
        write_point(folder / "runs", LORA, 10.0, seed, score=0.5, drift=0.5, error=DIVERGED)
    return folder


@pytest.fixture(scope="module")
def found(folder, settings):
    return tabulate(settings(folder))


def test_the_planted_ratio_is_recovered_within_its_interval(found):
    [row] = found.compared
    assert (row["arm"], row["baseline"], row["num_seeds"]) == (LORA, FULL, 3)
    assert row["drift_low"] < 0.7 < row["drift_high"] < 1
    assert row["drift"] == pytest.approx(0.7, abs=0.03)
    assert (row["verdict"], row["drift_p"], row["drift_least_p"]) == (LESS, 0.25, 0.25)
    # planted: a tenth of the drift, and seeds apart by 10 % a step
    assert row["forgetting"] == pytest.approx(0.7)
    logs = np.log(0.7) - 0.1 * (np.array([1, 2, 3]) - 2)
    ends = np.exp(t_interval(logs)[1:3])
    assert [row["forgetting_low"], row["forgetting_high"]] == pytest.approx(ends)
    # the scores from the least rate's to the best one's, without the largest rate's
    assert (row["from"], row["to"]) == pytest.approx((0.6 + 0.01 / 3, 0.9 + 0.01 / 3))


def test_swapped_arms_mirror_everything(found, folder, settings):
    [row] = found.compared
    mirrored = tabulate(settings(folder, baseline=LORA))
    [other] = mirrored.compared
    assert (other["arm"], other["baseline"], other["verdict"]) == (FULL, LORA, MORE)
    for name in ("drift", "forgetting"):
        assert other[name] == pytest.approx(1 / row[name])
        ends = 1 / row[f"{name}_high"], 1 / row[f"{name}_low"]
        assert (other[f"{name}_low"], other[f"{name}_high"]) == pytest.approx(ends)
    assert other["nats"] == pytest.approx(-row["nats"])
    one, two = found.tables["parts"], mirrored.tables["parts"]
    assert set(one["verdict"]) == {LESS} and set(two["verdict"]) == {MORE}
    np.testing.assert_allclose(two["drift"], 1 / one["drift"])
    np.testing.assert_allclose(
        mirrored.tables["along"]["ratio"], 1 / found.tables["along"]["ratio"]
    )


def test_a_rate_that_diverged_is_shown_and_has_no_place_on_a_curve(found):
    rates = found.tables["rates"].set_index(["arm", "rate"])
    assert rates.loc[(LORA, 10.0), ["seeds", "diverged"]].tolist() == [2, 2]
    assert np.isnan(rates.loc[(LORA, 10.0), "score"])
    assert rates["diverged"].sum() == 2 and not found.problems[1:]
    points = found.tables["points"]
    assert points.loc[points["diverged"], "error"].unique().tolist() == [DIVERGED]


def test_rates_are_means_over_seeds_with_their_ends(found):
    rates = found.tables["rates"].set_index(["arm", "rate"])
    for rate, (score, drift) in CURVE.items():
        own = rates.loc[(FULL, rate)]
        scores = [score + luck for luck in LUCK.values()]
        expected = [np.mean(scores), min(scores), max(scores)]
        assert own[["score", "score_low", "score_high"]].tolist() == pytest.approx(expected)
        assert own["drift"] == pytest.approx(drift, rel=0.15)
        assert own["drift_low"] < own["drift"] < own["drift_high"]


def test_the_frozen_backbone_is_the_control_and_in_no_ratio(found):
    points = found.tables["points"]
    control = points[points["arm"] == FROZEN]
    assert (control["norm"] == 0).all() and control["drift"].abs().max() < 1e-6
    assert FROZEN not in set(found.tables["comparisons"]["arm"])
    learned = found.tables["learned"].set_index("arm").loc[FROZEN]
    assert (learned["rate"], learned["score"]) == (0.01, pytest.approx(0.66))
    assert found.arms == [FULL, LORA, FROZEN]


def test_curves_that_cross_are_said_to(tmp_path, settings):
    """LoRA drifts a quarter as far at low scores, and more than twice as far at high ones."""
    drifts = {FULL: (0.02, 0.08, 0.3), LORA: (0.004, 0.16, 0.85)}
    for arm, own in drifts.items():
        for rate, score, drift in zip((0.01, 0.1, 1), (0.6, 0.75, 0.9), own, strict=True):
            for seed in (1, 2, 3):
                write_point(tmp_path / "runs", arm, rate, seed, score=score, drift=drift)
    found = tabulate(settings(tmp_path))
    [row] = found.compared
    assert row["crosses"]
    verdicts = found.tables["parts"].set_index("part")["verdict"]
    assert list(verdicts.index) == list(PARTS)
    assert (verdicts["low"], verdicts["high"]) == (LESS, MORE)
    along = found.tables["along"]["ratio"]
    assert along.iloc[0] < 0.5 and along.iloc[-1] > 1.5


def test_without_a_score_that_both_reach_both_ranges_are_said(tmp_path, settings):
    for seed in (1, 2):
        for rate, score in ((0.1, 0.6), (1.0, 0.65)):
            write_point(tmp_path / "runs", FULL, rate, seed, score=score, drift=rate / 5)
            write_point(tmp_path / "runs", LORA, rate, seed, score=score + 0.2, drift=rate / 5)
    [row] = tabulate(settings(tmp_path)).compared
    assert row["verdict"] == "no accuracy that both reach" and np.isnan(row["drift"])
    ranges = row["arm_from"], row["arm_to"], row["baseline_from"], row["baseline_to"]
    assert ranges == (0.8, 0.85, 0.6, 0.65)


def test_one_seed_is_undecided(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=[1])
    write_arm(tmp_path / "runs", LORA, factor=0.5, seeds=[1])
    found = tabulate(settings(tmp_path))
    [row] = found.compared
    assert (row["verdict"], row["why"]) == ("undecided", "one seed tells nothing of others")
    assert row["drift"] < 0.7 and np.isnan(row["drift_low"])
    assert found.tables["parts"].empty and len(found.tables["along"])


def test_a_task_that_neither_arm_learned_is_shown_and_has_no_verdict(tmp_path, settings):
    for arm in (FULL, LORA):
        for rate in (0.1, 1.0):
            for seed in (1, 2, 3):
                score, drift = 0.5 + 0.01 * rate, 0.1 * rate
                write_point(tmp_path / "runs", arm, rate, seed, score=score, drift=drift)
    found = tabulate(settings(tmp_path))
    [row] = found.compared
    assert row["verdict"] == "not learned" and not found.is_learned("sst2")
    assert found.tables["parts"].empty and found.tables["along"].empty
    assert len(found.tables["rates"]) == 4


def test_scores_below_the_constant_answers_take_no_part(tmp_path, settings):
    """Both arms pass 0.5, the best constant answer: what lies below is nothing learned."""
    drifts = {FULL: (0.01, 0.1, 0.3), LORA: (0.001, 0.1, 0.3)}
    for arm, own in drifts.items():
        for rate, score, drift in zip((0.01, 0.1, 1), (0.3, 0.5, 0.9), own, strict=True):
            for seed in (1, 2):
                write_point(tmp_path / "runs", arm, rate, seed, score=score, drift=drift)
    [row] = tabulate(settings(tmp_path)).compared
    assert row["constant"] == 0.5 and row["from"] == 0.5
    assert row["drift"] == pytest.approx(1, abs=0.1)


def test_forgetting_that_is_not_positive_has_a_difference_and_no_ratio(tmp_path, settings):
    for arm, more in ((FULL, 0.0), (LORA, 0.02)):
        for rate, score in ((0.1, 0.6), (1.0, 0.8)):
            for seed in (1, 2):
                lost = rate / 10 - 0.05 + more + 0.001 * seed * (arm == LORA)
                write_point(
                    tmp_path / "runs", arm, rate, seed, score=score, drift=rate / 5,
                    forgetting=lost,
                )  # fmt: skip
    [row] = tabulate(settings(tmp_path)).compared
    assert np.isnan(row["forgetting"])
    assert row["nats"] == pytest.approx(0.0215)
    assert row["nats_low"] == pytest.approx(t_interval([0.021, 0.022]).low)


def test_two_tasks_each_have_their_own_comparison(tmp_path, settings):
    for task in ("sst2", "rte"):
        write_arm(tmp_path / "runs", FULL, task=task)
        write_arm(tmp_path / "runs", LORA, task=task, factor=0.5 if task == "rte" else 1.0)
    found = tabulate(settings(tmp_path))
    by_task = {row["task"]: row for row in found.compared}
    assert by_task["rte"]["drift"] < 0.6 < by_task["sst2"]["drift"]
    assert (by_task["rte"]["verdict"], by_task["sst2"]["verdict"]) == (LESS, "equal")


def test_everything_is_of_the_evaluated_checkpoint(tmp_path, settings):
    """The best validation is at step 50, where the run has drifted half of the noise."""
    write_arm(tmp_path / "runs", FULL)
    scores = {"steps": (0, 50, 100), "scores": (0.8, 0.7)}
    write_point(tmp_path / "runs", FULL, 5.0, 1, score=0.8, drift=0.5, **scores)
    points = tabulate(settings(tmp_path)).tables["points"].set_index(["rate", "seed"])
    half = points.loc[(5.0, 1)]
    assert half["step"] == 50
    # drift is about the square of the noise over 1 more than that
    assert 0.15 < half["drift"] < 0.3
