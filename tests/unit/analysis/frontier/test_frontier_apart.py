"""What is said where nothing is matched: ranges apart, arms that diverged or learned nothing."""

import numpy as np
import pytest
from planted_frontier import FROZEN, FULL, LORA, write_arm, write_frozen, write_point

from loradrift.analysis.frontier.page import report
from loradrift.analysis.frontier.ratios import Pairs, Side, compare, log_ratios, why_apart
from loradrift.analysis.frontier.sentences import comparison_text
from loradrift.analysis.frontier.tables import tabulate
from loradrift.statistics import Curve

RNG = np.random.default_rng(0)


def diverge(runs, arm, rates, seeds=(1, 2)):
    for rate in rates:
        for seed in seeds:
            write_point(runs, arm, rate, seed, score=0.5, drift=0.2, error="the loss became nan")


def side(*settings, seed=1):
    scores, drifts = zip(*settings, strict=True)
    logs = Curve(np.array(scores), np.log(drifts))
    return {seed: logs}


def said(found):
    [row] = found.compared
    return row, comparison_text(found, row)


@pytest.mark.parametrize("diverged", [FULL, LORA])
def test_an_arm_that_diverged_at_every_rate_is_named_and_nothing_is_compared(
    tmp_path, settings, diverged, capsys
):
    other = LORA if diverged == FULL else FULL
    diverge(tmp_path / "runs", diverged, (0.1, 1.0))
    write_arm(tmp_path / "runs", other, seeds=(1, 2))
    found = tabulate(settings(tmp_path))
    row, text = said(found)
    label = {FULL: "full fine-tuning", LORA: "LoRA r=8"}[diverged]
    assert text == f"{label} diverged at every rate, so that nothing is compared"
    assert row["verdict"] == "diverged at every rate" and np.isnan(row["drift"])
    report(settings(tmp_path), found)
    printed = capsys.readouterr().out
    assert text[1:] in printed and "No arm to compare" not in printed


def test_only_a_frozen_head_beats_the_constant_answer_where_the_others_diverged(tmp_path, settings):
    for arm in (FULL, LORA):
        diverge(tmp_path / "runs", arm, (0.1, 1.0))
    write_frozen(tmp_path / "runs", seeds=(1, 2), score=0.8)
    found = tabulate(settings(tmp_path))
    assert found.is_learned("sst2") and found.arms[-1] == FROZEN
    _, text = said(found)
    assert text.startswith("LoRA r=8 and full fine-tuning diverged at every rate")


@pytest.mark.parametrize("unlearned", [FULL, LORA])
def test_an_arm_that_never_beats_the_constant_answer_is_not_compared(tmp_path, settings, unlearned):
    other = LORA if unlearned == FULL else FULL
    write_arm(tmp_path / "runs", other)
    for rate in (0.1, 1.0):
        for seed in (1, 2, 3):
            score = 0.5 + 0.01 * rate
            write_point(tmp_path / "runs", unlearned, rate, seed, score=score, drift=0.1 * rate)
    found = tabulate(settings(tmp_path))
    row, text = said(found)
    label = {FULL: "full fine-tuning", LORA: "LoRA r=8"}[unlearned]
    assert text == f"{label} does not beat the best constant answer, so that nothing is compared"
    assert row["unlearned"] == unlearned and np.isnan([row["drift"], row["nats"]]).all()


def test_ranges_that_overlap_say_why_nothing_is_compared():
    """Scores 0.48 to 0.52 against 0.50 to 0.90, of which 0.53 is a constant answer."""
    low, high = side((0.48, 1), (0.52, 2)), side((0.50, 1), (0.90, 2))
    why = why_apart(Pairs(low, high, 0.53))
    assert why == "what both reach is not above the best constant answer, 0.53"
    other_seed = {**low, **side((0.6, 1), (0.8, 2), seed=2)}
    apart = {**side((0.53, 1), (0.70, 2)), **side((0.9, 1), (0.95, 2), seed=2)}
    assert "with no seed both reach the same" in why_apart(Pairs(other_seed, apart, 0.0))
    assert why_apart(Pairs(low, side((0.6, 1), (0.8, 2)), 0.0)) == ""
    assert why_apart(Pairs(low, side((0.5, 1), seed=9), 0.0)) == "they share no seed"


def test_a_seed_that_is_apart_alone_has_its_own_ranges_said():
    low = {**side((0.6, 1), (0.8, 2)), **side((0.6, 1), (0.7, 2), seed=2)}
    high = {**side((0.7, 1), (0.9, 2)), **side((0.75, 1), (0.9, 2), seed=2)}
    row = compare(Side(low, {}), Side(high, {}), 0.5, RNG)
    assert row["seeds"] == "1" and row["seeds_apart"] == "2: 0.6 to 0.7 against 0.75 to 0.9"
    mirrored = compare(Side(high, {}), Side(low, {}), 0.5, RNG)
    assert mirrored["seeds_apart"] == "2: 0.75 to 0.9 against 0.6 to 0.7"


@pytest.mark.parametrize(("cost", "winner"), [(0.5, "arm"), (1.5, "")])
def test_an_arm_that_reaches_more_for_less_dominates_and_swapped_it_is_the_baseline(cost, winner):
    better = Side(side((0.85, cost), (0.9, 3)), {})
    worse = Side(side((0.6, 1), (0.8, 2)), {})
    assert compare(better, worse, 0.5, RNG)["dominates"] == winner
    assert compare(worse, better, 0.5, RNG)["dominates"] == {"arm": "baseline"}.get(winner, "")


def test_what_is_forgotten_at_other_scores_does_not_cost_the_ratio():
    """The arm forgets nothing at 0.5, below everything that the baseline reaches."""
    arm = {1: Curve(np.array([0.5, 0.7, 0.9]), np.array([-0.01, 0.2, 0.4]))}
    base = {1: Curve(np.array([0.7, 0.9]), np.array([0.4, 0.8]))}
    assert log_ratios(Pairs(arm, base, 0.0))[1].difference == pytest.approx(np.log(0.5))
    assert log_ratios(Pairs(base, arm, 0.0))[1].difference == pytest.approx(np.log(2))
    within = {1: Curve(np.array([0.65, 0.9]), np.array([-0.01, 0.4]))}
    assert log_ratios(Pairs(within, base, 0.0)) == {}


def test_seeds_that_one_arm_lacks_are_named(tmp_path, settings):
    write_arm(tmp_path / "runs", FULL, seeds=(1, 2, 3))
    write_arm(tmp_path / "runs", LORA, seeds=(1, 2))
    _, text = said(tabulate(settings(tmp_path)))
    assert "(LoRA r=8 has no run with seed 3)" in text
