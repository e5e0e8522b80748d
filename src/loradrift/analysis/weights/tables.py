"""What the weights of all runs say in sum, and how far a model drifts for how large an update."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.budget import trained_longer, untold
from loradrift.analysis.drift.pairing import Pairing
from loradrift.analysis.drift.tables import DriftTables, compare_runs, last_steps, print_problems
from loradrift.analysis.tables import write_tables
from loradrift.analysis.weights import WeightsConfig
from loradrift.analysis.weights.modules import weight_changes
from loradrift.config import AnalysisConfig, UserError
from loradrift.statistics import sign_flip, t_interval

QUANTITIES = (
    "relative_norm", "effective_rank", "stable_rank", "energy_top_1", "energy_top_r",
    "overlap_left", "overlap_left_random", "overlap_right", "overlap_right_random",
    "intruders", "intruders_control", "intruders_random",
)  # fmt: skip
COMPARED = (
    "relative_norm", "effective_rank", "stable_rank", "energy_top_1", "overlap_left",
    "overlap_right", "intruders",
)  # fmt: skip


class Weights(NamedTuple):
    """What is known about the weight changes; no rows where nothing could be read."""

    modules: pd.DataFrame
    """One row per run and linear layer."""

    summary: pd.DataFrame
    """Means per task and method, over ``modules`` and ``seeds`` of :data:`QUANTITIES`."""

    comparison: pd.DataFrame
    """Both arms per task and quantity, the treatment minus the control with its 95 % interval over
    seeds, and its exact test."""

    totals: pd.DataFrame
    """One row per run, with its ``task_label``: the update's norm over all linear layers,
    relative to theirs, with mean ``drift`` and ``forgetting`` (nats per token; NaN where it was not
    measured)."""

    not_analysed: pd.DataFrame
    """One line for everything whose weights could not be read."""


def tabulate(settings: WeightsConfig) -> Weights:
    """Compute the tables about weights, and write them; it is an error if none can be read."""
    weights = find_weights(settings.analysis, *compare_runs(settings.analysis))
    if weights.modules.empty:
        raise UserError("the weights of no pair can be read: nothing to compare")
    return weights


def find_weights(config: AnalysisConfig, pairing: Pairing, tables: DriftTables) -> Weights:
    """Compute all tables about the weights of the same runs as ``tables``, and write them.

    Earlier measurements are remembered in ``<results>/.remembered``.
    """
    results, runs = Path(config.results), Path(config.runs)
    memory = results / ".remembered"
    alike = [pair for pair in pairing.pairs if not any(map(trained_longer, pair))]
    modules, problems = weight_changes(alike, runs, memory, config.seed)
    if longer := untold(pairing.arms, tables.budget, "weights"):
        problems.append(longer)
    print_problems(problems)
    both = compared_modules(modules)
    places = both.groupby(["task", "method"], sort=False)
    counts = places.agg(modules=("module", "nunique"), seeds=("seed", "nunique"))
    weights = Weights(
        modules,
        counts.join(places[list(QUANTITIES)].mean()).reset_index(),
        _comparison(pairing.arms, both),
        _totals(modules, tables),
        pd.DataFrame({"not analysed": problems}, dtype=object),
    )
    write_tables(results / "weights", weights._asdict())
    return weights


def compared_modules(modules: pd.DataFrame) -> pd.DataFrame:
    """Select the modules that both arms change, the same for both."""
    return modules[modules["directions"].notna()]


def _comparison(arms: Arms, both: pd.DataFrame) -> pd.DataFrame:
    means = both.groupby(["task", "seed", "method"], sort=False)[list(COMPARED)].mean()
    rows = []
    for task in dict.fromkeys(both["task"]):
        for quantity in COMPARED:
            wide = means.loc[task][quantity].unstack("method").dropna()
            if wide.empty:
                continue  # a change of zeros has no rank
            difference = (wide[arms.treatment.name] - wide[arms.control.name]).to_numpy(dtype=float)
            interval, test = t_interval(difference), sign_flip(difference)
            sides = [wide[method].mean() for method in arms.names]
            found = [interval.estimate, interval.low, interval.high, test.p, test.least_p]
            rows.append([task, quantity, len(wide), *sides, *found])
    columns = ["task", "quantity", "seeds", *arms.names, "difference", "ci_lower", "ci_upper"]
    return pd.DataFrame(rows, columns=[*columns, "p_sign_flip", "least_p"])


def _totals(modules: pd.DataFrame, tables: DriftTables) -> pd.DataFrame:
    keys = ["task", "method", "seed"]
    change, whole = (modules[name].astype(float) ** 2 for name in ("change_norm", "base_norm"))
    squares = modules[[*keys, "module"]].assign(change=change, whole=whole)
    sums = squares.groupby(keys, sort=False)["change"].sum().reset_index()
    # Layers that an arm leaves alone are part of the model too.
    every = squares.drop_duplicates(["task", "seed", "module"])
    wholes = every.groupby(["task", "seed"], sort=False)["whole"].sum().reset_index()
    table = sums.merge(wholes, on=["task", "seed"])
    table["relative_norm"] = np.sqrt(table["change"] / table["whole"])
    drift = last_steps(tables.mean_drift)
    table = table.drop(columns=["change", "whole"]).merge(drift[[*keys, "drift"]], on=keys)
    # Runs of an older version did not measure forgetting.
    losses = [f"forgetting/loss_{when}" for when in ("before", "after")]
    runs = tables.runs.reindex(columns=[*keys, "task_label", *losses])
    before, after = (runs[loss].astype(float) for loss in losses)
    own = runs[[*keys, "task_label"]].assign(forgetting=after - before)
    return table.merge(own, on=keys)
