"""How well projections say what behaviour changes, against what the size of the change says alone.

A point is a fine-tuned run and a trait. Runs are drawn with repetition, each with all its traits:
points of one run share its weights. Percentiles are cut at the tail for few units. Correlations of
raw projections fit nothing; leaving one trait out fits a line on all others and asks how much of
the variance of the one left out it explains (about the mean of the others; below 0 is worse than
that mean).
"""

# Shape suffixes: N points, R resamples.

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.report.blocks import interval_text
from loradrift.report.verdicts import Verdict
from loradrift.statistics.association import auroc, cluster_counts, pearson, spearman
from loradrift.statistics.bounded import UNDEFINED, expanded_tail
from loradrift.statistics.values import ROUNDING, Array

SUCCESS = 0.7
"""The correlation from which a projection is said to foretell behaviour."""

LEAST_RUNS = 12
"""Fewer fine-tunings give no verdict."""

NUM_RESAMPLES = 2000

FIGURES = {
    "pearson": "Pearson r", "spearman": "Spearman rho", "within_traits": "r within traits",
    "norm_pearson": "Pearson r of the norm alone", "over_norm": "r less that of the norm",
    "left_out": "variance explained, trait left out",
    "norm_left_out": "the same by the norm alone",
    "auroc": "AUROC of a gain", "norm_auroc": "AUROC of the norm alone",
}  # fmt: skip
"""What is computed over points, and how it is written."""


class Estimate(NamedTuple):
    """A figure and its interval; NaN where it is not defined."""

    estimate: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """``0.84 (0.71 to 0.92)``."""
        if np.isnan(self.estimate):
            return "not defined"
        ends = interval_text(self.low, self.high, 2)
        return f"{self.estimate:.2f} ({'no interval' if ends == '-' else ends})"


class Points(NamedTuple):
    """A value per point, which is a run and a trait."""

    projection_N: Array
    norm_N: Array
    change_N: Array
    trait_N: Array
    """The number of the trait."""


def points_of(table: pd.DataFrame) -> Points:
    """The points of a table with a row per run and trait."""
    numbers = {trait: number for number, trait in enumerate(sorted(table["trait"].unique()))}
    numbered = table["trait"].map(numbers)
    columns = [table[name] for name in ("projection", "norm", "change")]
    return Points._make(each.to_numpy(dtype=float) for each in (*columns, numbered))


def figures_of(points: Points, gain: float, counts_RN: Array | None = None) -> list[Array]:
    """:data:`FIGURES` of points that are drawn so often; each (R,)."""
    projection_N, norm_N, change_N, trait_N = points
    counts = np.ones((1, len(trait_N))) if counts_RN is None else counts_RN
    labels_N = (change_N >= gain).astype(float)
    found = [pearson(projection_N, change_N, counts), spearman(projection_N, change_N, counts)]
    within_RN = [_centred(each, trait_N, counts) for each in (projection_N, change_N)]
    found.append(pearson(within_RN[0], within_RN[1], counts))
    by_norm = pearson(norm_N, change_N, counts)
    found += [by_norm, found[0] - by_norm]
    found += [left_out(values, change_N, trait_N, counts) for values in (projection_N, norm_N)]
    return [*found, *(auroc(values, labels_N, counts) for values in (projection_N, norm_N))]


def _centred(x_N: Array, trait_N: Array, counts_RN: Array) -> Array:
    """The values less their trait's mean in each resample, (R, N)."""
    x_RN = np.broadcast_to(x_N, counts_RN.shape).copy()
    for trait in np.unique(trait_N):
        own = trait_N == trait
        sums_R = counts_RN[:, own] @ x_N[own]
        x_RN[:, own] -= (sums_R / np.maximum(counts_RN[:, own].sum(axis=1), 1))[:, None]
    return x_RN


def left_out(x_N: Array, y_N: Array, trait_N: Array, counts_RN: Array | None = None) -> Array:
    """Share of variance that lines of the other traits explain (R,); NaN for fewer than two traits.

    Example:
        >>> x = np.array([0.0, 1, 2, 0, 1, 2])
        >>> left_out(x, 3 * x + 1, np.array([0.0, 0, 0, 1, 1, 1])).round(6).tolist()
        [1.0]
    """
    counts = np.ones((1, len(x_N))) if counts_RN is None else counts_RN
    missed_R, spread_R = np.zeros(len(counts)), np.zeros(len(counts))
    traits = np.unique(trait_N)
    with np.errstate(invalid="ignore", divide="ignore"):
        for trait in traits if len(traits) > 1 else ():
            own = trait_N == trait
            w_RN, x, y = counts[:, ~own], x_N[~own], y_N[~own]
            total_R = w_RN.sum(axis=1)
            mean_x_R, mean_y_R = w_RN @ x / total_R, w_RN @ y / total_R
            x_RN, y_RN = x - mean_x_R[:, None], y - mean_y_R[:, None]
            square_R = (w_RN * x_RN**2).sum(axis=1)
            least_R = ROUNDING * np.abs(x_N).max() ** 2 * total_R
            slope_R = (w_RN * x_RN * y_RN).sum(axis=1) / np.where(
                square_R > least_R, square_R, np.nan
            )
            about_RN = y_N[own] - mean_y_R[:, None]
            line_RN = slope_R[:, None] * (x_N[own] - mean_x_R[:, None])
            missed_R += (counts[:, own] * (about_RN - line_RN) ** 2).sum(axis=1)
            spread_R += (counts[:, own] * about_RN**2).sum(axis=1)
        found: Array = 1 - missed_R / spread_R
    return found


def predict(points: pd.DataFrame, gain: float, rng: np.random.Generator) -> dict[str, Estimate]:
    """Every figure with its interval over runs; ``points`` has a row per run and trait."""
    values, runs = points_of(points), list(points["run"])
    counts_RN = cluster_counts(runs, rng, NUM_RESAMPLES)
    pairs = zip(figures_of(values, gain), figures_of(values, gain, counts_RN), strict=True)
    return {
        name: estimate(float(whole[0]), drawn_R, len(set(runs)))
        for name, (whole, drawn_R) in zip(FIGURES, pairs, strict=True)
    }


def estimate(value: float, drawn_R: Array, num_runs: int) -> Estimate:
    """A figure with its percentiles over runs; no interval where many resamples have none."""
    defined = drawn_R[~np.isnan(drawn_R)]
    if num_runs < 3 or len(defined) < (1 - UNDEFINED) * len(drawn_R):
        return Estimate(value, np.nan, np.nan)
    tail = expanded_tail(num_runs)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def judge_prediction(found: dict[str, Estimate], num_runs: int) -> tuple[Verdict, str]:
    """Whether r is above the success line, and what keeps the data from saying so."""
    r = found["pearson"]
    if np.isnan(r.estimate):
        return Verdict.NO_DATA, "nothing varies"
    if num_runs < LEAST_RUNS:
        return Verdict.UNDECIDED, f"{num_runs} fine-tunings, and a verdict takes {LEAST_RUNS}"
    if r.low > SUCCESS:
        return Verdict.SUPPORTED, ""
    if r.high < SUCCESS:
        return Verdict.REFUTED, ""
    why = "r has no interval" if np.isnan(r.low) else f"the interval holds {SUCCESS:g}"
    return Verdict.UNDECIDED, why


def figure_table(subsets: dict[str, tuple[int, int, dict[str, Estimate]]]) -> pd.DataFrame:
    """One row per set of points and figure."""
    rows: list[dict[str, Any]] = [
        {"points": name, "runs": runs, "count": count, "figure": key, **each._asdict()}
        for name, (runs, count, figures) in subsets.items()
        for key, each in figures.items()
    ]
    columns = ["points", "runs", "count", "figure", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def trait_table(points: pd.DataFrame) -> pd.DataFrame:
    """Each trait alone: correlation, and the mean error of a line that the others gave."""
    rows = []
    for trait, own in points.groupby("trait", sort=True):
        others = points[points["trait"] != trait]
        error = np.nan
        if others["trait"].nunique() and np.ptp(others["projection"]) > 0:
            slope, level = np.polyfit(others["projection"], others["change"], 1)
            error = float((own["change"] - slope * own["projection"] - level).abs().mean())
        rows.append(
            {
                "trait": trait, "runs": own["run"].nunique(),
                "pearson": float(pearson(own["projection"], own["change"])[0]),
                "spearman": float(spearman(own["projection"], own["change"])[0]),
                "norm_pearson": float(pearson(own["norm"], own["change"])[0]),
                "error_left_out": error,
            }
        )  # fmt: skip
    columns = ["trait", "runs", "pearson", "spearman", "norm_pearson", "error_left_out"]
    return pd.DataFrame(rows, columns=columns)


def claim() -> str:
    """What the verdict is about."""
    return (
        "the projection of a fine-tuning's weight change on a trait's direction says how the trait "
        f"changes: r > {SUCCESS:g}"
    )
