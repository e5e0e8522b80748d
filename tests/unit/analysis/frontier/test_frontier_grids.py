"""A seed with fewer rates than its arm's others takes no part; unequal grids of arms are said."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from planted_frontier import FROZEN, FULL, LORA, write_point

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.frontier.comparisons import comparison_tables
from loradrift.analysis.frontier.grids import grid_problems, lacking, times_default
from loradrift.analysis.frontier.reading import FrontierRun
from loradrift.analysis.frontier.sentences import answer
from loradrift.analysis.frontier.tables import tabulate
from loradrift.runs import read_record

SETTINGS = ((0.001, 0.6, 0.02), (0.01, 0.7, 0.05), (0.1, 0.8, 0.08), (1.0, 0.85, 0.2),
            (10.0, 0.9, 0.3))  # fmt: skip
"""Rate, accuracy and drift; between them drift is on no straight line."""

DEFAULTS = {FULL: 0.1, LORA: 1.0}
"""The rates of LoRA are ten times as large."""


def planted(arm, rates=range(5), seeds=(1, 2, 3), diverged=()):
    """An arm's points at some of the settings; both arms lie on the same curve with each seed."""
    rows = [
        {
            "task": "sst2", "arm": arm, "rate": SETTINGS[k][0] * DEFAULTS[arm] / 0.1, "seed": seed,
            "times": SETTINGS[k][0] / 0.1, "score": SETTINGS[k][1] + 0.01 * seed,
            "drift": SETTINGS[k][2] * math.exp(0.1 * seed), "forgetting": SETTINGS[k][2] / 10,
            "diverged": k in diverged,
        }
        for k in rates
        for seed in seeds
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    figures = ["score", "drift", "forgetting"]
    table.loc[table["diverged"], figures] = np.nan
    return table


def compared(*tables, baseline=FULL):
    points = pd.concat(tables, ignore_index=True)
    arms = sorted(points["arm"].unique(), key=lambda arm: arm != baseline)
    learned = pd.DataFrame({"task": "sst2", "arm": arms, "baseline": 0.5, "learned": True})
    found = comparison_tables(points, learned, arms, np.random.default_rng(0))
    [row] = found["comparisons"].to_dict("records")
    return row, grid_problems(points, baseline)


WHOLE = planted(FULL)


@pytest.mark.parametrize("baseline", [FULL, LORA])
@pytest.mark.parametrize(("rates", "named"), [((0, 2, 4), "0.1, 10"), ((0, 1, 2), "10, 100")])
def test_a_seed_with_fewer_rates_takes_no_part_and_equal_arms_are_equal(rates, named, baseline):
    short = planted(LORA, rates, seeds=[3])
    row, problems = compared(WHOLE, planted(LORA, seeds=(1, 2)), short, baseline=baseline)
    assert row["seeds"] == "1, 2" and row["drift"] == pytest.approx(1, abs=1e-12)
    assert row["forgetting_seeds"] == "1, 2" and row["forgetting"] == pytest.approx(1)
    assert row["grid"] == f"without seed 3, with which LoRA r=8 has no run at rate {named}"
    [line] = problems
    assert line.startswith(f"sst2 seed=3 lora_r8: no run at rate {named}, where other seeds of it")
    assert (row["seeds_missing"], row["baseline_seeds_missing"]) == ("", "")


def test_the_seed_would_have_moved_the_ratio():
    """What is guarded against: alone, the seed with three of five rates differs by a tenth."""
    row, _ = compared(planted(FULL, seeds=[3]), planted(LORA, (0, 2, 4), seeds=[3]))
    assert abs(math.log(row["drift"])) > 0.02


def test_where_no_seed_has_all_rates_all_take_part_and_each_is_named():
    one, two = planted(LORA, (0, 1, 2, 3), seeds=[1]), planted(LORA, (1, 2, 3, 4), seeds=[2])
    row, problems = compared(planted(FULL, seeds=(1, 2)), one, two)
    assert row["seeds"] == "1, 2"
    assert row["grid"] == (
        "with seed 1, with which LoRA r=8 has no run at rate 100; "
        "with seed 2, with which LoRA r=8 has no run at rate 0.01"
    )
    assert [line.split(":")[0] for line in problems] == [
        "sst2 seed=1 lora_r8",
        "sst2 seed=2 lora_r8",
    ]


@pytest.mark.parametrize("baseline", [FULL, LORA])
def test_an_arm_with_another_grid_is_compared_and_said(baseline):
    row, problems = compared(WHOLE, planted(LORA, (0, 2, 3)), baseline=baseline)
    assert row["seeds"] == "1, 2, 3" and row["drift"] > 0
    lacks = "no run at rate 0.1 (0.1 times its default), 100 (100 times its default)"
    assert row["grid"] == f"LoRA r=8 has {lacks}, full fine-tuning has"
    [line] = problems
    assert line.startswith(f"sst2 lora_r8: {lacks}, where full_finetune has one: compared all the")


def test_grids_of_the_same_multiples_are_alike_whatever_the_rates():
    row, problems = compared(WHOLE, planted(LORA))
    assert (row["grid"], problems) == ("", [])
    unknown = planted(LORA, (0, 2)).assign(times=np.nan)
    assert compared(WHOLE, unknown)[0]["grid"] == ""


def test_a_record_without_the_default_has_no_multiple(tmp_path):
    folder = write_point(tmp_path, LORA, 0.2, 1, score=0.8, drift=0.1)
    for scale, times in (({"adapter_lr": 0.1}, 2.0), ({}, np.nan), (None, np.nan), ("x", np.nan)):
        record = read_record(folder)
        record.config["scale"] = scale
        run = FrontierRun(Run(folder, record), LORA, 0.2)
        assert times_default(run) == pytest.approx(times, nan_ok=True)


def test_a_rate_that_diverged_was_tried_and_one_that_always_did_is_on_no_grid():
    tried = [planted(LORA, seeds=(1, 2)), planted(LORA, diverged=(4,), seeds=[3])]
    assert lacking(pd.concat(tried)) == {}
    beyond = planted(LORA, diverged=(4,), seeds=[1])
    some = [planted(LORA, range(4), seeds=(2, 3)), beyond]
    assert lacking(pd.concat(some)) == {}
    assert compared(planted(FULL, range(4)), *some)[1] == []
    row, problems = compared(WHOLE, *some)
    assert (row["grid"], problems) == ("", [])  # LoRA has tried what full fine-tuning reached


def test_from_runs_on_disk_to_the_answer(tmp_path, settings):
    runs = tmp_path / "runs"
    for rate, score, drift in SETTINGS[1:4]:
        for seed in (1, 2):
            for arm in (FULL, LORA):
                write_point(runs, arm, rate, seed, score=score, drift=drift)
    write_point(runs, FROZEN, 0.01, 1, score=0.6, drift=0.0)
    shutil.rmtree(next(runs.glob("*/*/lora*lr=0.1,*/seed=2")))
    write_point(runs, FULL, 0.001, 1, score=0.6, drift=0.02)
    write_point(runs, FULL, 0.001, 2, score=0.6, drift=0.02)
    found = tabulate(settings(tmp_path))
    said = [
        "without seed 2, with which LoRA r=8 has no run at rate 0.1",
        "LoRA r=8 has no run at rate 0.001 (0.01 times its default), full fine-tuning has",
    ]
    assert f"({'; '.join(said)})." in answer(found)
    assert [line.split(",")[0] for line in found.problems if "sst2" in line] == [
        "sst2 seed=2 lora_r8: no run at rate 0.1",
        "sst2 lora_r8: no run at rate 0.001 (0.01 times its default)",
    ]
