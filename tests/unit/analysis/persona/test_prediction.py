"""Figures of prediction: their coverage, least squares by hand, and signs."""

import numpy as np
import pandas as pd
import pytest

from loradrift.analysis.persona_projection.prediction import (
    FIGURES,
    Estimate,
    figures_of,
    judge_prediction,
    left_out,
    points_of,
    predict,
)
from loradrift.report.verdicts import Verdict
from loradrift.statistics.association import cluster_counts


def drawn_points(rng, runs, slope, *, traits=3):
    """Points of runs whose two traits share some luck."""
    rows = []
    for run in range(runs):
        size, luck = 1 + rng.random(), 0.5 * rng.normal()
        for trait in range(traits):
            x = rng.normal()
            rows.append({"run": str(run), "trait": f"t{trait}", "projection": x, "norm": size,
                         "change": slope * x + luck + rng.normal()})  # fmt: skip
    return pd.DataFrame(rows)


def test_intervals_of_r_cover_as_often_as_they_say():
    rng = np.random.default_rng(4)
    variance = 4 + 0.25 + 1
    truth = 2 / np.sqrt(variance)
    hits = []
    for _ in range(120):
        r = predict(drawn_points(rng, 16, 2.0), 1.0, rng)["pearson"]
        hits.append(r.low <= truth <= r.high)
    assert np.mean(hits) >= 0.9


def test_what_is_left_out_is_foretold_by_least_squares_of_the_others():
    rng = np.random.default_rng(5)
    table = drawn_points(rng, 10, 1.5)
    trait = table["trait"].str[1].astype(float).to_numpy()
    x, y = table["projection"].to_numpy(), table["change"].to_numpy()
    missed = spread = 0
    for number in range(3):
        own = trait == number
        design = np.column_stack([np.ones((~own).sum()), x[~own]])
        level, slope = np.linalg.lstsq(design, y[~own], rcond=None)[0]
        missed += ((y[own] - level - slope * x[own]) ** 2).sum()
        spread += ((y[own] - y[~own].mean()) ** 2).sum()
    assert left_out(x, y, trait)[0] == pytest.approx(1 - missed / spread)
    assert np.isnan(left_out(x, y, np.zeros(len(x)))[0])


def test_resamples_are_the_points_repeated():
    table = drawn_points(np.random.default_rng(7), 9, 1.5)
    counts = cluster_counts(list(table["run"]), np.random.default_rng(1), 4)
    drawn_R = np.stack(figures_of(points_of(table), 1.0, counts), axis=1)
    for row, repeated in enumerate(counts.astype(int)):
        again = figures_of(points_of(table.loc[table.index.repeat(repeated)]), 1.0)
        np.testing.assert_allclose(drawn_R[row], np.concatenate(again))


def test_a_direction_turned_round_turns_the_correlation_round():
    table = drawn_points(np.random.default_rng(6), 10, 1.5)
    points = points_of(table)
    turned = points._replace(projection_N=-points.projection_N)
    there, back = (
        {name: float(each[0]) for name, each in zip(FIGURES, figures_of(values, 1.0), strict=True)}
        for values in (points, turned)
    )
    for name in ("pearson", "spearman", "within_traits"):
        assert back[name] == pytest.approx(-there[name])
    assert back["auroc"] == pytest.approx(1 - there["auroc"])
    assert back["left_out"] == pytest.approx(there["left_out"])


@pytest.mark.parametrize(
    ("interval", "runs", "verdict", "why"),
    [
        ((0.9, 0.75, 0.95), 12, Verdict.SUPPORTED, ""),
        ((0.9, 0.65, 0.95), 12, Verdict.UNDECIDED, "the interval holds 0.7"),
        ((0.4, 0.1, 0.65), 12, Verdict.REFUTED, ""),
        ((0.9, 0.75, 0.95), 11, Verdict.UNDECIDED, "11 fine-tunings, and a verdict takes 12"),
        ((0.9, np.nan, np.nan), 12, Verdict.UNDECIDED, "r has no interval"),
        ((np.nan, np.nan, np.nan), 12, Verdict.NO_DATA, "nothing varies"),
    ],
)
def test_the_verdict_is_of_the_whole_interval(interval, runs, verdict, why):
    assert judge_prediction({"pearson": Estimate(*interval)}, runs) == (verdict, why)


def test_within_traits_differences_between_them_do_not_count():
    """Traits that lie apart on both axes make a correlation, and it is taken away."""
    table = drawn_points(np.random.default_rng(8), 12, 0.0)
    shift = 20 * table["trait"].str[1].astype(float)
    moved = table.assign(projection=table["projection"] + shift, change=table["change"] + shift)
    found = {
        name: float(each[0])
        for name, each in zip(FIGURES, figures_of(points_of(moved), 1.0), strict=True)
    }
    apart = moved.groupby("trait")[["projection", "change"]].transform("mean")
    left = moved[["projection", "change"]] - apart
    assert found["pearson"] > 0.9
    assert found["within_traits"] == pytest.approx(left.corr().iloc[0, 1])
    assert abs(found["within_traits"]) < 0.5
