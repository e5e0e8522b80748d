"""Verdicts on planted cases, from clear ones to those with nothing to say."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence, Verdict
from loradrift.analysis.drift.verdicts import decide
from loradrift.statistics import Variance

H1, H2, H3 = (hypothesis.name for hypothesis in HYPOTHESES)
TASKS = ("sst2", "mrpc", "rte")


def evidence(factor, spread, seeds=5, tasks=TASKS, seed=0):
    """The treatment is ``factor`` times the control, give or take ``spread``."""
    rng = np.random.default_rng(seed)
    control = {task: 0.8 * (1 + 0.02 * rng.normal(size=seeds)) for task in tasks}
    factors = {task: factor + spread * rng.normal(size=seeds) for task in tasks}
    return Evidence({task: control[task] * factors[task] for task in tasks}, control)


def scaled(control, factor, **options):
    """Every value of the treatment is ``factor`` times the control's."""
    return Evidence({task: factor * v for task, v in control.items()}, control, **options)


def outcome(name, data):
    [found] = [o for o in decide({name: data}) if o.hypothesis.name == name]
    return found


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
    sign = 1 if name == H3 else -1
    assert result.estimate == pytest.approx(sign * 100 * (factor - 1), abs=1.5)
    assert result.ci_lower < result.estimate < result.ci_upper
    assert (result.num_seeds, result.num_tasks) == (5, 3)


def test_the_numbers_of_h1_and_h2():
    data = evidence(0.99, 0.02)
    h1, h2, h3 = decide({H1: data, H2: data})
    lora, full = (np.array(list(side.values())).T for side in data[:2])
    contrast = (lora - 0.97 * full).mean(1)
    assert h1.p == pytest.approx(stats.ttest_1samp(contrast, 0, alternative="greater").pvalue)
    change = 100 * (1 - lora / full)
    flips = {"permutation_type": "samples", "n_resamples": np.inf}
    for o, past, side in ((h1, 0.97 * full - lora, "less"), (h2, change - 20, "greater")):
        exact = stats.permutation_test((past.ravel(),), np.sum, alternative=side, **flips)
        assert o.p_sign_flip == pytest.approx(exact.pvalue, abs=1e-12)
        assert o.least_p == 2.0**-15
    low, high = stats.t.interval(0.95, 4, change.mean(), stats.sem(change.mean(1)))
    assert (h2.estimate, h2.ci_lower, h2.ci_upper) == pytest.approx((change.mean(), low, high))
    assert h1.estimate == pytest.approx(100 * (1 - lora.mean() / full.mean()))
    for end in (h1.ci_lower, h1.ci_upper):  # the interval's ends are where the test turns
        contrast = (lora - (1 - end / 100) * full).mean(1)
        assert stats.ttest_1samp(contrast, 0).pvalue == pytest.approx(0.05)
    assert h2.p == h2.p_sign_flip
    assert h1.p_bonferroni == h1.p_holm == pytest.approx(min(1, 3 * h1.p))
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
        assert o.estimate == o.ci_lower == o.ci_upper == 0
        assert o.p_equivalence is None and "all values are equal" in o.note
    assert h1.p == h1.p_sign_flip == 2.0**-9 and "p is the sign-flip test's" in h1.note
    assert (h1.verdict, h2.verdict) == ("supported", "equivalent")
    drift = {task: np.array([0.05, 0.06, 0.04]) for task in TASKS}
    assert outcome(H2, scaled(drift, 1)).verdict == "equivalent"
    # Without width, but on the margin or past it, nothing is equal.
    for factor in (1.2, 1.5):
        assert outcome(H2, scaled(drift, factor)).verdict == "refuted"
    # Other rows of the probe could still tell the methods apart.
    assert outcome(H2, scaled(drift, 1, rows=Variance(13.0**2, 255))).verdict == "undecided"


@pytest.mark.parametrize("seed", range(40))
def test_h1s_interval_and_test_never_contradict_each_other(seed):
    # Tasks of very different scores: a mean of their ratios is another number than the contrast.
    rng = np.random.default_rng(seed)
    levels = zip(TASKS, (0.1, 0.8, 0.9), strict=True)
    control = {task: level * rng.normal(1, 0.01, 3) for task, level in levels}
    treatment = {task: v * rng.normal(0.985, 0.01, 3) for task, v in control.items()}
    result = outcome(H1, Evidence(treatment, control))
    assert (result.ci_upper <= 3) == (result.p <= 0.025)
    assert (result.ci_lower >= 3) == (result.p >= 0.975)


def test_on_the_margin_exactly():
    control = {task: np.array([0.8, 0.7, 0.9]) for task in TASKS}
    for name, factor in ((H1, 0.97), (H2, 0.8), (H3, 1.3)):
        result = outcome(name, scaled(control, factor))
        assert (result.verdict, result.p) == ("undecided", 1)


def test_one_seed_and_one_task():
    result = outcome(H2, evidence(0.1, 0.001, seeds=1, tasks=("sst2",)))
    assert result.verdict == Verdict.UNDECIDED
    assert (result.p, result.least_p, result.ci_lower) == (0.5, 0.5, None)
    assert "one value" in result.note and "1 blocks cannot reach p <= 0.05" in result.note
    three = outcome(H2, evidence(0.1, 0.001, seeds=3, tasks=("sst2",)))
    assert (three.verdict, three.p) == ("undecided", 0.125)
    text = json.dumps([asdict(o) for o in decide({H1: evidence(1, 0.01, seeds=1)})])
    assert "NaN" not in text
    first = json.loads(text)[0]
    assert first["verdict"] == "undecided" and first["hypothesis"]["margin"] == 3


def test_incomplete_seeds_are_left_out_and_nothing_is_a_percentage_of_0():
    outcomes = decide({})
    assert [o.verdict for o in outcomes] == ["no data"] * 3
    assert outcomes[2].note == "no results in serving"
    assert outcomes[2].p is outcomes[2].estimate is None
    data = evidence(0.5, 0.01)
    data.treatment["rte"][2] = np.nan
    result = outcome(H2, data)
    assert result.num_seeds == 4
    assert result.note == "1 seeds without a value for every task left out"
    data.control["sst2"][:] = np.nan
    result = outcome(H2, data)
    assert result.note == "no seed has a value for both sides and every task"
    assert result.verdict == Verdict.NO_DATA
    named = outcome(H2, data._replace(missing="no pair of sst2 seed=1: `train` adds it"))
    assert named.verdict == Verdict.UNDECIDED
    assert named.note.endswith("every task: no pair of sst2 seed=1: `train` adds it")
    data = evidence(0.5, 0.01)
    data.control["rte"][0] = 0
    result = outcome(H2, data)
    assert result.verdict == Verdict.NO_DATA
    assert result.note == "a change in percent of 0 is undefined"


def test_more_blocks_than_flips_can_be_counted_for():
    h1, h2, _ = decide(dict.fromkeys((H1, H2), evidence(0.5, 0.01, seeds=14)))
    assert (h1.verdict, h2.verdict) == ("refuted", "supported")
    assert h2.p == h2.least_p == 1 / 100_001 and "flips were drawn" in h2.note
    drawn = [decide({H2: evidence(0.795, 0.1, seeds=14)}, seed=1) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_a_claim_past_the_probe_or_of_more_hypotheses_needs_more():
    data = evidence(0.75, 0.01)
    narrow, wide = outcome(H2, data), outcome(H2, data._replace(rows=Variance(25.0, 255)))
    assert (narrow.verdict, wide.verdict) == ("supported", "undecided")
    assert wide.ci_lower < narrow.ci_lower and narrow.row_standard_error is None
    assert wide.row_standard_error == 5 and "other rows than the probe's" in wide.note
    family = [*HYPOTHESES, *(replace(HYPOTHESES[1], name=f"again {i}") for i in range(7))]
    data = evidence(0.75, 0.04, seeds=2)
    few = outcome(H2, data)
    many = next(o for o in decide({H2: data}, family) if o.hypothesis.name == H2)
    assert (many.p, many.p_holm) == (few.p, pytest.approx(min(1, 10 * few.p)))


def test_seeds_and_tasks_in_any_order_and_unit():
    data = evidence(0.79, 0.01)
    sides = [{task: 100 * side[task][::-1] for task in reversed(TASKS)} for side in data[:2]]
    a, b = outcome(H2, data), outcome(H2, Evidence(*sides))
    assert b.p == a.p
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
