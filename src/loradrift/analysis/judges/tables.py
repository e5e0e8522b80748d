"""``analysis=judges``: two judges' scores of the same answers, and how far they agree."""

# Shape suffixes: C cells, Q questions, R resamples.

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.judges import AnalyzeJudgesConfig
from loradrift.analysis.judges.reading import Read, read_both
from loradrift.analysis.tables import write_tables
from loradrift.statistics import Agreement, Estimate, agreement

COHERENCE = "coherence"
LINES = {COHERENCE: 75.0}
"""From where on an answer is coherent; it has a trait from :data:`HALF` on."""

HALF = 50.0
NUM_RESAMPLES = 2000
LEAST_CELLS = 3
"""Cells without which their means say nothing of a correlation."""

EXAMPLES = 3
"""Answers of each measure on which the judges disagree most."""


class Compared(NamedTuple):
    """What two judges said, and how far they agree."""

    read: Read
    folder: Path
    agreement: pd.DataFrame
    """A row per trait, and one of coherence: counts, figures and the ends of their intervals."""

    scores: pd.DataFrame
    """``measure``, ``cell``, ``id``, ``question``, ``answer``, ``first``, ``second``: answers that
    both scored."""

    cells: pd.DataFrame
    """Mean of both judges' scores of each cell and measure."""

    examples: pd.DataFrame


def tabulate(settings: AnalyzeJudgesConfig) -> Compared:
    """Read both judges' files, and write the tables in ``<results>/persona/judges/``."""
    config = settings.analysis
    read = read_both(Path(config.runs), settings.first, settings.second)
    rows = measured(read.rows)
    both = rows[(rows["first_status"] == "scored") & (rows["second_status"] == "scored")]
    table = pd.DataFrame(
        [
            _compared(measure, own, both[both["measure"] == measure], config.seed)
            for measure, own in rows.groupby("measure", sort=False)
        ]
    )
    place = ["measure", "cell", "steered", "arm", "coefficient"]
    scores = both[[*place, "id", "question", "answer", "first", "second"]].reset_index(drop=True)
    grouped = scores.groupby(place, sort=False, dropna=False)
    cells = grouped[["first", "second"]].mean().reset_index()
    gap = (scores["first"] - scores["second"]).abs()
    order = scores.assign(gap=gap).sort_values("gap", ascending=False, kind="stable")
    examples = order.groupby("measure", sort=False).head(EXAMPLES).sort_values(
        ["measure", "gap"], ascending=[True, False], kind="stable"
    )  # fmt: skip
    folder = Path(config.results, "persona", "judges", f"{read.first},{read.second}")
    tables = {"agreement": table, "scores": scores, "cells": cells, "examples": examples}
    write_tables(folder, tables)
    return Compared(read, folder, table, scores, cells, examples)


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each trait, and after them those of coherence: one of each answer."""
    coherence = rows.drop_duplicates(["cell", "id"]).assign(measure=COHERENCE)
    for side in ("first", "second"):
        coherence[side] = coherence[f"{side}_coherence"]
    return pd.concat([rows.sort_values("measure", kind="stable"), coherence], ignore_index=True)


def _compared(measure: object, rows: pd.DataFrame, both: pd.DataFrame, seed: int) -> dict[str, Any]:
    """The row of one measure."""
    rng = np.random.default_rng(seed)
    counts = {
        "measure": measure,
        "answers": len(rows),
        "both scored": len(both),
        "first alone": int((rows["first_status"] == "scored").sum()) - len(both),
        "second alone": int((rows["second_status"] == "scored").sum()) - len(both),
        "questions": both["question"].nunique(),
        "cells": both["cell"].nunique(),
    }
    none = Estimate(np.nan, np.nan, np.nan)
    found = Agreement(none, none, none, none, none)
    of_cells = none
    if len(both):
        first, second = both["first"].to_numpy(float), both["second"].to_numpy(float)
        line = LINES.get(str(measure), HALF)
        found = agreement(first, second, list(both["question"]), rng, threshold=line,
                          num_resamples=NUM_RESAMPLES)  # fmt: skip
        of_cells = cell_pearson(both, rng)
    figures = {**found._asdict(), "cell_pearson": of_cells}
    for name, each in figures.items():
        counts |= {name: each.estimate, f"{name}_low": each.low, f"{name}_high": each.high}
    return counts


def cell_pearson(both: pd.DataFrame, rng: np.random.Generator) -> Estimate:
    """Correlation of the cells' means, with its interval over questions; NaN for few cells."""
    counts_CQ = both.pivot_table(index="cell", columns="question", values="first", aggfunc="count")
    if len(counts_CQ) < LEAST_CELLS:
        return Estimate(np.nan, np.nan, np.nan)
    num_questions = counts_CQ.shape[1]
    drawn_RQ = rng.multinomial(num_questions, np.full(num_questions, 1 / num_questions),
                               NUM_RESAMPLES)  # fmt: skip
    weights_RQ = np.vstack([np.ones(num_questions), drawn_RQ])
    sides = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for side in ("first", "second"):
            sums_CQ = both.pivot_table(index="cell", columns="question", values=side, aggfunc="sum")
            known_CQ = counts_CQ.fillna(0).to_numpy()
            means_RC = (weights_RQ @ sums_CQ.fillna(0).to_numpy().T) / (weights_RQ @ known_CQ.T)
            sides.append(means_RC - np.nanmean(means_RC, axis=1, keepdims=True))
        missing_RC = np.isnan(sides[0])
        x_RC, y_RC = (np.where(missing_RC, 0.0, side) for side in sides)
        r_R = (x_RC * y_RC).sum(1) / np.sqrt((x_RC**2).sum(1) * (y_RC**2).sum(1))
    defined = r_R[1:][np.isfinite(r_R[1:])]
    if num_questions < 2 or len(defined) < 0.95 * NUM_RESAMPLES:
        return Estimate(float(r_R[0]), np.nan, np.nan)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(float(r_R[0]), float(low), float(high))
