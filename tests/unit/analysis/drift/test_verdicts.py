"""Verdicts on planted cases, from clear ones to those with nothing to say."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from planted_evidence import H1, H2, H3, TASKS, evidence, outcome, scaled
from scipy import stats

from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence
from loradrift.analysis.drift.verdicts import decide
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Variance


@pytest.mark.parametrize(
    ("name", "factor", "verdict"),
    [
        (H1, 1.00, "supported"), (H1, 0.97, "undecided"), (H1, 0.90, "refuted"),
        (H2, 0.50, "supported"), (H2, 0.80, "undecided"), (H2, 0.95, "equivalent"),
        (H2, 1.50, "refuted"),
        (H3, 1.10, "supported"), (H3, 1.30, "undecided"), (H3, 1.60, "refuted"),
    ],
)  # fmt: skip
def test_planted_effects(name, factor, verdict):
    result = outcome(name, evidence(factor, 0.01))
    assert result.verdict == verdict
    assert result.ratio == pytest.approx(factor, abs=0.015)
    assert result.ratio_lower < result.ratio < result.ratio_upper
    assert result.verdict_lower < result.ratio_lower and result.ratio_upper < result.verdict_upper
    assert (result.num_seeds, result.num_tasks) == (5, 3)


def test_the_numbers_of_h1_and_h2():
    data = evidence(0.99, 0.02)
    h1, h2, h3 = decide({H1: data, H2: data})
    lora, full = (np.array(list(side.values())).T for side in data[:2])
    of_means = np.log(lora.mean(1) / full.mean(1))
    of_tasks = np.log(lora / full).mean(1)
    flips = {"permutation_type": "samples", "n_resamples": np.inf}
    cases = (h1, of_means, 0.97, "greater"), (h2, of_tasks, 0.8, "less")
    for o, values, margin, side in cases:
        past = values - np.log(margin)
        assert o.p == pytest.approx(stats.ttest_1samp(past, 0, alternative=side).pvalue)
        assert o.p_bonferroni == o.p_holm == pytest.approx(min(1, 3 * o.p))
        exact = stats.permutation_test((past,), np.sum, alternative=side, **flips)
        assert o.p_sign_flip == pytest.approx(exact.pvalue, abs=1e-12) and o.least_p == 2.0**-5
        for level, ends in (
            (0.95, ("ratio_lower", "ratio_upper")),
            (0.99, ("verdict_lower", "verdict_upper")),
        ):
            expected = np.exp(stats.t.interval(level, 4, values.mean(), stats.sem(values)))
            assert [getattr(o, end) for end in ends] == pytest.approx(list(expected))
        assert o.ratio == pytest.approx(np.exp(values.mean()))
        found = (o.estimate, o.ci_lower, o.ci_upper)
        assert found == pytest.approx(np.log([o.ratio, o.ratio_lower, o.ratio_upper]))
        equal = [
            stats.ttest_1samp(values, sign * abs(np.log(margin)), alternative=way).pvalue
            for sign, way in ((-1, "greater"), (1, "less"))
        ]
        assert o.p_equivalence == pytest.approx(max(equal))
    assert h2.task_ratios == pytest.approx(
        {task: np.exp(np.log(lora / full)[:, i].mean()) for i, task in enumerate(TASKS)}
    )
    assert h3.verdict == Verdict.NO_DATA


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize("spread", [0, 0.01, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_equal_methods_never_support_less_drift(seeds, spread, seed):
    result = outcome(H2, evidence(1, spread, seeds, seed=seed))
    assert result.verdict != Verdict.SUPPORTED
    if seeds > 1 and spread == 0.01:
        assert result.p_equivalence < 0.05


def test_identical_methods_and_those_whose_seeds_differ_are_equivalent():
    same = scaled({task: np.full(3, 0.9) for task in TASKS}, 1)
    h1, h2, _ = decide({H1: same, H2: same})
    for o in (h1, h2):
        assert (o.ratio, o.ratio_lower, o.ratio_upper, o.estimate) == (1, 1, 1, 0)
        assert o.p is o.p_holm is o.p_equivalence is None and "all values are equal" in o.note
    assert (h1.verdict, h2.verdict) == ("supported", "equivalent")
    drift = {task: np.array([0.05, 0.06, 0.04]) for task in TASKS}
    assert outcome(H2, scaled(drift, 1)).verdict == "equivalent"
    # Without width, but on the reciprocal of the margin or past it, nothing is equal.
    for factor in (1.25, 1.5):
        assert outcome(H2, scaled(drift, factor)).verdict == "refuted"
    # Other rows of the probe, or rounding, could still tell the methods apart.
    rows = dict.fromkeys(TASKS, Variance(0.2**2, 255))
    assert outcome(H2, scaled(drift, 1, rows=rows)).verdict == "undecided"
    rounded = outcome(H2, scaled(drift, 1, rounding=dict.fromkeys(TASKS, 0.3**2)))
    assert rounded.verdict == "undecided"
    assert rounded.rounding_deviation == pytest.approx(0.3 / 3**0.5)


def test_on_the_margin_exactly():
    control = {task: np.array([0.8, 0.7, 0.9]) for task in TASKS}
    for name, factor in ((H1, 0.97), (H2, 0.8), (H3, 1.3)):
        result = outcome(name, scaled(control, factor))
        assert (result.verdict, result.p) == ("undecided", None)


def test_one_seed_and_one_task():
    result = outcome(H2, evidence(0.1, 0.001, seeds=1, tasks=("sst2",)))
    assert result.verdict == Verdict.UNDECIDED
    assert (result.p, result.least_p, result.ratio_lower) == (None, 0.5, None)
    assert "one value" in result.note and result.p_tasks is None
    three = outcome(H2, evidence(0.1, 0.001, seeds=3, tasks=("sst2",)))
    assert (three.verdict, three.p_sign_flip) == ("supported", 0.125)
    text = json.dumps([asdict(o) for o in decide({H1: evidence(1, 0.01, seeds=1)})])
    assert "NaN" not in text
    first = json.loads(text)[0]
    assert first["verdict"] == "undecided" and first["hypothesis"]["margin"] == 0.97


def test_what_95_percent_show_and_99_do_not_is_said():
    near = evidence(0.66, 0.06, seeds=3, seed=3)
    result = outcome(H2, near)
    assert result.ratio_upper < 0.8 < result.verdict_upper
    assert result.verdict == "undecided" and "95 % interval is past the margin" in result.note


def test_incomplete_seeds_are_left_out_and_nothing_is_a_ratio_to_0():
    outcomes = decide({})
    assert [o.verdict for o in outcomes] == ["no data"] * 3
    assert outcomes[2].note == "no results in serving"
    assert outcomes[2].p is outcomes[2].estimate is None
    data = evidence(0.5, 0.01)
    data.treatment["rte"][2] = np.nan
    result = outcome(H2, data)
    assert result.num_seeds == 4
    assert result.note == "1 seed without a value for every task left out"
    data.control["sst2"][:] = np.nan
    result = outcome(H2, data)
    assert result.note == "no seed has a value for both sides and every task"
    assert result.verdict == Verdict.NO_DATA
    named = outcome(H2, data._replace(missing="no pair of sst2 seed=1: `train` adds it"))
    assert named.verdict == Verdict.UNDECIDED
    assert named.note.endswith("every task: no pair of sst2 seed=1: `train` adds it")
    for side in range(2):
        data = evidence(0.5, 0.01)
        data[side]["rte"][0] = 0
        result = outcome(H2, data)
        assert result.verdict == Verdict.NO_DATA
        assert result.note == "the ratio to a value of 0 is undefined"
        # a score of 0 on one task still has its part in the mean over tasks
        assert outcome(H1, data).verdict in ("refuted", "undecided")


def test_more_seeds_than_flips_can_be_counted_for():
    data = evidence(0.5, 0.01, seeds=42)
    h2 = outcome(H2, data)
    assert h2.verdict == "supported" and h2.p_sign_flip == h2.least_p == 1 / 100_001
    drawn = [decide({H2: evidence(0.795, 0.1, seeds=42)}, seed=1) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_a_claim_past_the_probe_or_of_more_hypotheses_needs_more():
    data = evidence(0.75, 0.01)
    rows = dict.fromkeys(TASKS, Variance(0.05**2, 255))
    narrow, wide = outcome(H2, data), outcome(H2, data._replace(rows=rows))
    assert (narrow.verdict, wide.verdict) == ("supported", "undecided")
    assert wide.ci_lower < narrow.ci_lower and narrow.row_standard_error is None
    assert wide.row_standard_error == pytest.approx(0.05 / 3**0.5)
    assert "other rows than the probe's" in wide.note
    family = [*HYPOTHESES, *(replace(HYPOTHESES[1], name=f"again {i}") for i in range(7))]
    data = evidence(0.75, 0.04, seeds=2)
    few = outcome(H2, data)
    many = next(o for o in decide({H2: data}, family) if o.hypothesis.name == H2)
    assert (many.p, many.p_holm) == (few.p, pytest.approx(min(1, 10 * few.p)))


def test_seeds_and_tasks_in_any_order_and_unit():
    data = evidence(0.79, 0.01)
    sides = [{task: 100 * side[task][::-1] for task in reversed(TASKS)} for side in data[:2]]
    a, b = outcome(H2, data), outcome(H2, Evidence(*sides))
    assert b.p == pytest.approx(a.p)
    assert (b.estimate, b.ci_lower) == pytest.approx((a.estimate, a.ci_lower))


def test_errors():
    data = evidence(1, 0)
    with pytest.raises(ValueError, match=r"evidence must be for one of .* got \['H4'\]"):
        decide({"H4": data})
    with pytest.raises(ValueError, match="H2 drift must have the same tasks in the same order"):
        decide({H2: data._replace(control=dict(reversed(data.control.items())))})
    fewer = {task: values[:3] for task, values in data.control.items()}
    with pytest.raises(ValueError, match="H2 drift must have the same seeds .* got 5 and 3"):
        decide({H2: data._replace(control=fewer)})
