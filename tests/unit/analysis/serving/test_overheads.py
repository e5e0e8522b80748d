"""The overhead of an arm: known truths, invariances, and how often its intervals hold them."""

import math

import numpy as np
import pandas as pd
import pytest
from serving_cells import ADAPTERS, Simulated

from loradrift.analysis.serving.latencies import call_table
from loradrift.analysis.serving.overheads import contrasts, overhead, overhead_table
from loradrift.analysis.serving.plans import read_plan
from loradrift.analysis.serving.verdict import judge
from loradrift.report.verdicts import Verdict

TRUTH = 1.2


def simulated_rounds(rng, ratio, rounds=5, merged=4):
    """Calls of an arm and of merged models: a round's noise is shared, each call has its own."""
    shared_R = rng.normal(0, 0.10, (rounds, 1))
    own_RA = rng.normal(0, 0.03, (rounds, 1 + merged))
    times_RA = np.exp(shared_R + own_RA) * np.array([ratio, *[1.0] * merged])
    return times_RA[:, :1], times_RA[:, 1:]


def test_t_interval_holds_a_known_overhead_as_often_as_it_says_and_the_bootstrap_less_often():
    rng = np.random.default_rng(0)
    found = [overhead(*simulated_rounds(rng, TRUTH), rng, 500) for _ in range(1000)]
    by_t = np.mean([each.low <= TRUTH <= each.high for each in found])
    by_bootstrap = np.mean([each.bootstrap_low <= TRUTH <= each.bootstrap_high for each in found])
    assert 0.93 <= by_t <= 0.97
    assert by_bootstrap < 0.90, "which is why it decides nothing"
    assert np.exp(np.mean([math.log(each.ratio) for each in found])) == pytest.approx(
        TRUTH, rel=3e-3
    )


def test_a_round_that_slows_everything_changes_nothing():
    rng = np.random.default_rng(1)
    arm_R1, merged_RK = simulated_rounds(rng, TRUTH)
    slow_R1 = np.exp(rng.normal(0, 1, (5, 1)))
    before = overhead(arm_R1, merged_RK, np.random.default_rng(0))
    after = overhead(arm_R1 * slow_R1, merged_RK * slow_R1, np.random.default_rng(0))
    assert after[:6] == pytest.approx(before[:6])


def test_swapped_sides_mirror_ratio_and_both_intervals():
    arm_R1, merged_RK = simulated_rounds(np.random.default_rng(2), TRUTH)
    there = overhead(arm_R1, merged_RK, np.random.default_rng(0))
    back = overhead(merged_RK, arm_R1, np.random.default_rng(0))
    assert 1 / np.array(back[:5]) == pytest.approx(np.array(there[:5])[[0, 2, 1, 4, 3]])


def test_interval_equals_the_textbook_formula():
    arm_R1, merged_RK = simulated_rounds(np.random.default_rng(3), TRUTH)
    d_R = [
        math.log(a) - np.mean([math.log(m) for m in row])
        for [a], row in zip(arm_R1, merged_RK, strict=True)
    ]
    half = 2.7764451051977987 * np.std(d_R, ddof=1) / math.sqrt(5)  # t quantile, 4 df
    found = overhead(arm_R1, merged_RK, np.random.default_rng(0))
    assert found.ratio == pytest.approx(math.exp(np.mean(d_R)))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(np.mean(d_R) - half), math.exp(np.mean(d_R) + half))
    )


def test_one_round_has_a_ratio_and_no_interval():
    found = overhead([[1.2]], [[1.0, 1.0]], np.random.default_rng(0))
    assert found.ratio == pytest.approx(1.2) and np.isnan(found[1:5]).all() and found.rounds == 1


@pytest.mark.parametrize(
    ("arm", "merged", "message"),
    [
        ([[1.0], [2.0]], [[1.0]], r"the same rounds, got \(2, 1\) and \(1, 1\)"),
        ([1.0], [[1.0]], r"must be \(rounds, arms\)"),
        ([[0.0]], [[1.0]], "times must be positive, got 0"),
        ([[float("nan")]], [[1.0]], "arms_RA must be finite"),
    ],
)
def test_times_that_are_none_are_refused(arm, merged, message):
    with pytest.raises(ValueError, match=message):
        overhead(arm, merged, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("low", "high", "rounds", "verdict"),
    [
        (1.10, 1.2999, 5, Verdict.SUPPORTED),
        (1.10, 1.30, 5, Verdict.UNDECIDED),
        (1.29, 1.31, 5, Verdict.UNDECIDED),
        (1.30, 1.40, 5, Verdict.UNDECIDED),
        (1.3001, 1.40, 5, Verdict.REFUTED),
        (0.50, 0.60, 5, Verdict.SUPPORTED),
        (1.10, 1.20, 4, Verdict.UNDECIDED),
        (1.40, 1.50, 4, Verdict.UNDECIDED),
        (float("nan"), float("nan"), 5, Verdict.UNDECIDED),
    ],
)
def test_h3_turns_where_an_end_of_the_interval_passes_the_margin(low, high, rounds, verdict):
    assert judge(low, high, rounds) is verdict


@pytest.fixture
def cell():
    return Simulated(batch_sizes=(1, 8))


@pytest.fixture
def calls(cell):
    return call_table(frame(cell))


def frame(cell):
    rows = [row for number in range(cell.rounds) for row in cell.round_rows(number)]
    table = pd.DataFrame(rows)
    return table.assign(place=range(len(table)))


def row_of(table, arm, against, load=8.0):
    [row] = table[
        (table["arm"] == arm) & (table["against"] == against) & (table["load"] == load)
    ].to_dict("records")
    return row


def test_table_finds_the_simulated_overheads(cell, calls):
    table = overhead_table(calls, read_plan(cell.plan()), seed=0)
    for arm, against, truth in (
        ("multi_2_adapters", "merged", 1.85),
        ("multi_2_adapters", "baseline", 1.85),
        ("merged", "baseline", 1.0),
        ("single_adapter", "merged_sst2", 1.6),
        ("multi_2_adapters_rank_64", "multi_2_adapters", 2.1 / 1.85),
        ("multi_4_adapters_2_slots", "multi_4_adapters", 2.3 / 1.85),
        ("multi_4_adapters", "multi_2_adapters", 1.0),
    ):
        row = row_of(table, arm, against)
        assert row["ratio"] == pytest.approx(truth, rel=0.03), (arm, against)
        assert row["low"] < row["ratio"] < row["high"] and row["rounds"] == 5


def test_a_contrast_does_not_depend_on_what_else_is_compared(cell, calls):
    plan = read_plan(cell.plan())
    whole = row_of(overhead_table(calls, plan, seed=0), "multi_2_adapters", "merged")
    few = calls[(calls["load"] == 8) & calls["arm"].isin([*plan.merged, "multi_2_adapters"])]
    assert row_of(overhead_table(few, plan, seed=0), "multi_2_adapters", "merged") == whole


def test_a_round_without_one_of_the_merged_models_takes_no_part(cell, calls):
    plan = read_plan(cell.plan())
    lost = (calls["round"] == 2) & (calls["arm"] == "merged_rte")
    row = row_of(overhead_table(calls[~lost], plan, seed=0), "multi_2_adapters", "merged")
    assert row["rounds"] == 4 and row["of_rounds"] == [0, 1, 3, 4]


def test_every_setting_is_compared_with_the_arm_that_it_changes_one_thing_of(cell):
    pairs = {(each.arm, each.against) for each in contrasts(read_plan(cell.plan()))}
    assert ("multi_2_adapters_rank_64", "multi_4_adapters") not in pairs
    assert ("single_adapter", "merged_mrpc") not in pairs
    assert not any(arm == against for arm, against in pairs)
    merged = {f"merged_{name}" for name in ADAPTERS}
    assert not any(arm in merged and against == "merged" for arm, against in pairs)
