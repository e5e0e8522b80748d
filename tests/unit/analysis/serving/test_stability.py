"""What is said of rounds that are not alike, and that nothing is dropped for it."""

import numpy as np
import pandas as pd
import pytest
from serving_cells import Simulated

from loradrift.analysis.serving.latencies import call_table
from loradrift.analysis.serving.stability import (
    add_rests,
    check_rounds,
    far_off,
    slope_over_places,
    unlike_others,
)
from loradrift.analysis.serving.verdict import H3
from loradrift.report.verdicts import Verdict

NONE = H3(Verdict.NO_DATA, *[float("nan")] * 5, rounds=0)


@pytest.fixture
def calls():
    cell = Simulated(batch_sizes=(1, 8), max_tokens=2, shared_noise=0.02, seed=5)
    rows = [row for number in range(5) for row in cell.round_rows(number)]
    table = pd.DataFrame(rows)
    return call_table(table.assign(place=range(len(table))))


def said(calls, verdict=NONE):
    return " ".join(check_rounds(calls, verdict).lines)


def test_rounds_that_are_alike_are_called_so(calls):
    text = said(calls)
    assert "so this is normal." in text and "No call of 110 is an outlier" in text
    scattered = float(text.partition("a call's time scatters by ")[2].partition(" %")[0])
    assert scattered == pytest.approx(1, abs=0.3), "own_noise is 1 %"
    assert "something else was running" not in text


def test_rounds_that_differ_by_chance_alone_are_not_said_to_vary_by_nothing():
    """With five rounds a median is one of them, and the differences from it are mostly 0."""
    cell = Simulated(max_tokens=2, batch_sizes=(1, 4, 8), shared_noise=0.0, own_noise=0.02, seed=1)
    rows = [row for number in range(5) for row in cell.round_rows(number)]
    text = said(call_table(pd.DataFrame(rows).assign(place=range(len(rows)))))
    varies = float(text.partition("the others vary by up to ")[2].partition(" %")[0])
    assert 0.2 < varies < 3, "a median of 33 calls with 2 % each"


def test_a_busy_machine_is_said_even_if_no_call_stands_out(calls):
    """Noise that all calls have makes none of them an outlier: the scatter itself is told."""
    calls["call_s"] *= np.exp(0.6 * np.random.default_rng(1).normal(size=len(calls)))
    text = said(calls)
    assert "No call of 110 is an outlier" in text
    assert "something else was running on this machine. Intervals are wide" in text


@pytest.mark.parametrize(("factor", "word"), [(0.7, "30"), (1.4, "40")])
def test_the_first_rounds_difference_has_a_direction(calls, factor, word):
    calls.loc[calls["round"] == 0, "call_s"] *= factor
    direction = "faster" if factor < 1 else "slower"
    text = said(calls)
    told = text.partition("The first round was ")[2].partition(" than")[0]
    assert told.endswith(f"% {direction}") and float(told.split()[0]) == pytest.approx(
        float(word), abs=5
    )


def test_order_of_the_calls_is_that_in_which_they_were_measured(calls):
    for _, own in calls.groupby("round"):
        assert sorted(own["order"]) == list(range(1, 23))


def test_a_slow_first_round_is_said(calls):
    calls.loc[calls["round"] == 0, "call_s"] *= 1.5
    text = said(calls)
    assert "this is normal" not in text and "still warming up" in text
    assert "No call of 110 is an outlier" in text, "a round is no call"


def test_a_slow_last_round_is_no_warm_up(calls):
    calls.loc[calls["round"] == 4, "call_s"] *= 1.5
    assert "warming up" not in said(calls)


def test_prediction_interval_is_that_of_one_more_value():
    """Coverage: the first of six equal draws lies within it in 95 % of cases."""
    rng = np.random.default_rng(0)
    found = [unlike_others(rng.normal(size=6)) for _ in range(4000)]
    assert np.mean([abs(gap) <= half for gap, half in found]) == pytest.approx(0.95, abs=0.01)


def test_calls_that_get_slower_within_a_round_are_said_with_how_much(calls):
    share = (calls["order"] - 1) / 21
    calls["call_s"] *= np.exp(share * np.log(1.2))
    text = said(calls)
    told = text.partition("A round's last call was ")[2].partition(" than")[0]
    assert told.endswith("% slower") and float(told.split()[0]) == pytest.approx(20, abs=2)
    assert "Arms are in random order, so this favours none" in text


def test_slope_has_the_interval_that_it_says():
    """Coverage of a known slope, with the order, the arms' levels and the rounds' at random."""
    rng, held = np.random.default_rng(0), []
    for _ in range(200):
        order = np.concatenate([rng.permutation(8) + 1 for _ in range(5)])
        arm = np.tile(np.arange(8), 5)
        y = 0.1 * (order - 1) / 7 + rng.normal(size=8)[arm] + 0.05 * rng.normal(size=40)
        y += np.repeat(rng.normal(size=5), 8)
        table = pd.DataFrame({"order": order, "arm": arm.astype(str), "load": 1.0})
        table = table.assign(round=np.repeat(np.arange(5), 8), call_s=np.exp(y))
        _, low, high = slope_over_places(table)
        held.append(low <= 0.1 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_a_call_that_is_far_off_is_named_and_stays(calls):
    chosen = (calls["round"] == 3) & (calls["arm"] == "multi_2_adapters") & (calls["load"] == 8)
    calls.loc[chosen, "call_s"] *= 2
    [row] = far_off(add_rests(calls)).to_dict("records")
    assert (row["round"], row["arm"], row["load"]) == (3, "multi_2_adapters", 8)
    assert row["ratio"] == pytest.approx(2, rel=0.05)
    text = said(calls)
    assert "Outliers among 110 calls: 1 " in text and "They are in all figures" in text


@pytest.mark.parametrize(
    ("log_ratios", "rounds", "says"),
    [
        (np.log([1.2, 1.21, 1.19, 1.2, 1.2]), range(5), "the same verdict"),
        (np.log([1.2, 1.21, 1.19, 1.2, 1.6]), range(5), "it would be supported without round 4"),
        (np.log([1.2, 1.6, 1.19, 1.2, 1.21]), (0, 2, 3, 4, 5), "be supported without round 2."),
    ],
)
def test_one_round_that_decides_h3_is_named(calls, log_ratios, rounds, says):
    """By its number, which is not its place where another round could not be read."""
    mean, half = log_ratios.mean(), 2.776 * log_ratios.std(ddof=1) / np.sqrt(5)
    low, high = np.exp([mean - half, mean + half])
    verdict = Verdict.SUPPORTED if high < 1.3 else Verdict.UNDECIDED
    found = H3(verdict, np.exp(mean), low, high, low, high, 5, "", tuple(log_ratios),
               tuple(rounds))  # fmt: skip
    assert says in said(calls, found)


def test_few_rounds_say_nothing_of_the_first(calls):
    assert "first round" not in said(calls[calls["round"] < 3])
    one = check_rounds(calls[calls["round"] == 0], NONE)
    assert "last call" not in " ".join(one.lines)
