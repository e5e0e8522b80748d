"""Verdicts take no side: swapped arms, tasks that disagree, and p beside its verdict."""

import numpy as np
import pytest
from planted_evidence import H1, H2, TASKS, evidence, outcome

from loradrift.analysis.drift.hypotheses import Evidence
from loradrift.analysis.drift.verdicts import decide
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Variance


def read_off(low, high, margin, at_least):
    """The verdict that the ends of a 99 % interval give."""
    holds, fails = (low > margin, high < margin) if at_least else (high < margin, low > margin)
    within = max(1 / low, high) < max(margin, 1 / margin)
    return (
        "supported"
        if holds
        else "undecided"
        if not fails
        else "equivalent"
        if within
        else "refuted"
    )


@pytest.mark.parametrize("seed", range(30))
def test_swapped_arms_mirror_every_estimate_interval_and_verdict(seed):
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.4) if seed % 2 else rng.choice([0.8, 1, 1.25])
    drift = {task: np.exp(rng.normal(-2, 0.3, 4)) for task in TASKS}
    other = {
        task: v * np.exp(rng.normal(level, 0.05 + 0.1 * rng.random(), 4))
        for task, v in drift.items()
    }
    extra = {
        "rows": dict.fromkeys(TASKS, Variance(0.003, 255)),
        "rounding": dict.fromkeys(TASKS, 0.01),
    }
    there, back = Evidence(other, drift, **extra), Evidence(drift, other, **extra)
    for one, two in zip(decide({H1: there, H2: there}), decide({H1: back, H2: back}), strict=True):
        if one.verdict == Verdict.NO_DATA:
            continue
        assert two.estimate == pytest.approx(-one.estimate)
        assert (two.ci_lower, two.ci_upper) == pytest.approx((-one.ci_upper, -one.ci_lower))
        assert (two.ratio_lower, two.ratio_upper) == pytest.approx(
            (1 / one.ratio_upper, 1 / one.ratio_lower)
        )
        assert two.tasks_disagree == one.tasks_disagree
        assert two.p_tasks == pytest.approx(one.p_tasks)
        assert two.task_ratios == pytest.approx({k: 1 / v for k, v in one.task_ratios.items()})
        claim = one.hypothesis
        at_least = claim.direction == "at least"
        if not one.tasks_disagree:
            mirrored = 1 / one.verdict_upper, 1 / one.verdict_lower
            assert (two.verdict_lower, two.verdict_upper) == pytest.approx(mirrored)
            assert two.verdict == read_off(*mirrored, claim.margin, at_least)
            if two.verdict == "supported":
                assert two.p == two.p_of_verdict <= 0.005 and two.p_holm <= 0.015


def test_no_arm_wins_where_one_drifts_as_much_less_as_the_other():
    # Four times less on two tasks, four times more on two: percent made both arms lose by 115 %.
    rng = np.random.default_rng(0)
    control = {task: np.exp(rng.normal(-2, 0.1, 3)) for task in "abcd"}
    factors = dict(zip("abcd", (0.25, 0.25, 4, 4), strict=True))
    treatment = {k: v * factors[k] * np.exp(rng.normal(0, 0.02, 3)) for k, v in control.items()}
    for data in (Evidence(treatment, control), Evidence(control, treatment)):
        result = outcome(H2, data)
        assert result.ratio == pytest.approx(1, abs=0.05)
        assert result.tasks_disagree and result.verdict == Verdict.UNDECIDED
        assert "tasks disagree (p < 0.001)" in result.note
        assert result.p > 0.9  # of the task that is furthest from the claim
    # Tasks may differ and the claim hold in each of them.
    factors = dict(zip("abcd", (0.1, 0.2, 0.4, 0.3), strict=True))
    treatment = {k: v * factors[k] * np.exp(rng.normal(0, 0.02, 3)) for k, v in control.items()}
    result = outcome(H2, Evidence(treatment, control))
    assert result.tasks_disagree and result.verdict == Verdict.SUPPORTED and result.p < 0.005


def test_tasks_on_either_side_are_not_equal_by_their_mean():
    control = {task: np.ones(3) for task in ("sst2", "rte")}
    treatment = {"sst2": np.array([0.1, 0.25, 0.6]), "rte": np.array([9.0, 4.0, 1.5])}
    result = outcome(H2, Evidence(treatment, control))
    assert result.verdict_lower > 0.8 and result.verdict_upper < 1.25 and not result.tasks_disagree
    assert result.verdict == Verdict.REFUTED


def test_the_p_that_is_shown_and_the_verdict_never_contradict_each_other():
    rng = np.random.default_rng(0)
    strong = evidence(1, 0.001)
    for _ in range(60):
        data = evidence(np.exp(rng.normal(-0.2, 0.3)), 0.1 * rng.random(), 3, seed=rng.integers(99))
        alone, beside = outcome(H2, data), decide({H1: strong, H2: data})[1]
        assert (alone.verdict, alone.p_of_verdict) == (beside.verdict, beside.p_of_verdict)
        assert (alone.verdict != Verdict.UNDECIDED) == (alone.p_of_verdict < 0.005)


def test_a_task_without_spread_leaves_no_p_value_in_whatever_order_it_comes():
    control = {task: np.ones(3) for task in ("sst2", "rte")}
    treatment = {"sst2": np.full(3, 0.5), "rte": np.array([3.0, 3.1, 2.9])}
    for tasks in (("sst2", "rte"), ("rte", "sst2")):
        sides = [{task: side[task] for task in tasks} for side in (treatment, control)]
        result = outcome(H2, Evidence(*sides))
        assert result.tasks_disagree and result.verdict == Verdict.UNDECIDED
        assert result.p is result.p_opposite is result.p_equivalence is None
