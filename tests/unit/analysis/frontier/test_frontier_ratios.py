"""Verdicts, levels and tests of ratios by formulas of their own, and which rate is judged."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from loradrift.analysis.frontier import tables
from loradrift.analysis.frontier.parts import parts_of
from loradrift.analysis.frontier.ratios import NO_WIDTH, Pairs, Side, compare, judge
from loradrift.analysis.frontier.sentences import forgetting_text
from loradrift.statistics import Curve, t_interval

SCORES = np.array([0.6, 0.9])


def shifted(shifts, base=0.0):
    """Seed -> a curve whose costs are moved by as much."""
    return {seed: Curve(SCORES, np.array([1.0, 2.0]) + base + by) for seed, by in shifts.items()}


def test_an_interval_without_width_decides_nothing():
    agree = t_interval([-0.3, -0.3, -0.3])
    assert agree.high < 0 and judge(agree) == ("undecided", NO_WIDTH)
    assert judge(t_interval([-0.3, -0.301, -0.299])).verdict == "less"


def test_thirds_are_at_a_level_for_all_three_together():
    logs = np.array([-0.3, -0.1, 0.1])
    shifts = dict(enumerate(logs))
    parts = parts_of(Pairs(shifted(shifts), shifted(dict.fromkeys(shifts, 0.0)), 0.0))
    half = t.ppf(1 - 0.05 / 3 / 2, 2) * logs.std(ddof=1) / np.sqrt(3)
    for part in parts:
        ends = np.log([part["drift_low"], part["drift_high"]])
        assert ends == pytest.approx(logs.mean() + np.array([-half, half]))


def flips(values):
    """The share of sign patterns whose mean is as far from 0."""
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=len(values))]
    return np.mean(np.array(sums) >= abs(sum(values)) - 1e-12)


def test_forgetting_has_its_own_seeds_and_test():
    """Drift is less with all of three seeds, forgetting with two of four."""
    drift, lost = {1: -0.2, 2: -0.3, 3: -0.4}, {1: -0.2, 2: 0.3, 3: -0.4, 4: 0.1}
    same = dict.fromkeys(lost, 0.0)
    nats = {s: Curve(SCORES, np.exp(np.array([1.0, 2.0]) + by)) for s, by in lost.items()}
    base = {s: Curve(SCORES, np.exp([1.0, 2.0])) for s in lost}
    own, other = Side(shifted(drift), nats), Side(shifted(same), base)
    row = compare(own, other, 0.0, np.random.default_rng(0))
    assert (row["seeds"], row["forgetting_seeds"]) == ("1, 2, 3", "1, 2, 3, 4")
    assert row["drift_p"] == flips([*drift.values()]) == 0.25
    assert row["forgetting_p"] == flips([*lost.values()]) and row["forgetting_p"] > 0.25
    assert row["forgetting_least_p"] == 0.125
    said = f"sign-flip p = {row['forgetting_p']:.2g} (4 seeds reach 0.12 at least)"
    assert forgetting_text(row).endswith(f" (with seeds 1, 2, 3, 4); {said}")
    below = {s: Curve(SCORES, curve.costs - 5) for s, curve in nats.items()}
    row = compare(own._replace(forgetting=below), other, 0.0, np.random.default_rng(0))
    assert np.isnan(row["forgetting"]) and row["nats_p"] == row["nats_least_p"] == 0.125
    assert forgetting_text(row).endswith("; sign-flip p = 0.12 (4 seeds reach 0.12 at least)")


def test_the_rate_that_is_judged_is_the_best_by_validation_with_every_seed(monkeypatch):
    """The best reported score is at 0.1, and seed 1 diverged at 10, where seed 2 is best of all."""
    places = {0.1: (0.7, 0.9), 1.0: (0.8, 0.6), 10.0: (0.95, 0.95)}
    points = pd.DataFrame(
        {
            "task": "sst2", "arm": "lora_r8", "rate": rate, "seed": seed, "validation": validation,
            "score": score, "diverged": (rate, seed) == (10.0, 1),
        }
        for rate, (validation, score) in places.items()
        for seed in (1, 2)
    )  # fmt: skip
    names = ["task", "arm", "rate", "diverged"]
    runs = [SimpleNamespace(run=place, **dict(zip(names, place, strict=True)))
            for place in points[names].itertuples(index=False, name=None)]  # fmt: skip
    judged = []
    monkeypatch.setattr(tables, "judge_runs", lambda chosen, judge: judged.extend(chosen) or {})
    [row] = tables.learned_table(runs, points).to_dict("records")
    assert (row["rate"], row["score"], row["seeds"]) == (1.0, pytest.approx(0.6), 2)
    assert judged == [("sst2", "lora_r8", 1.0, False)] * 2
