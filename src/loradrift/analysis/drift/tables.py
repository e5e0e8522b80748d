"""All tables about drift, from the runs' files; what did not change is not computed again."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.budget import budget_table, marked, unequal_training
from loradrift.analysis.drift.differences import differences
from loradrift.analysis.drift.effects import effect_table, overall, ratio_summary
from loradrift.analysis.drift.layers import layer_grid, mean_drift_replicates, run_drift
from loradrift.analysis.drift.learned import learned_table, not_learned
from loradrift.analysis.drift.pairing import Pair, Pairing, find_pairs
from loradrift.analysis.drift.performance import (
    drift_at,
    equal_performance,
    run_table,
    validation_curve,
)
from loradrift.analysis.drift.rounding import rounding_table, with_copies
from loradrift.analysis.drift.usable_pairs import DriftCache, readable
from loradrift.analysis.labels import spelt, task_labels
from loradrift.config import UserError
from loradrift.config.analysis import ComparisonConfig
from loradrift.statistics import max_t
from loradrift.statistics.values import Array


class DriftTables(NamedTuple):
    """What is known about the drift of the compared runs; one table per question."""

    compared: pd.DataFrame
    """``role`` (``control``, ``treatment``, ``not compared``) and ``arm``: a run's ``method`` in
    the other tables."""

    runs: pd.DataFrame
    """One row per run."""

    drift: pd.DataFrame
    """``task``, ``method``, ``seed``, ``step``, ``layer``, ``measure``, ``drift``, and whether the
    step is the one at which the run is ``compared``."""

    mean_drift: pd.DataFrame
    """Likewise with the mean over layers; ``cka`` only."""

    reduction: pd.DataFrame
    """``task``, ``seed``, drift of each arm where it is compared in a column of its name,
    ``log_ratio`` (of the treatment's drift to the control's) and ``reduction_percent``."""

    summary: pd.DataFrame
    """The ratio of drifts per task (geometric mean over seeds) with its interval, its exact test,
    and the jackknife variance of the log ratio over the probe's rows (``row_variance``,
    ``row_df``); ``mean`` and ``std`` are of the reduction in percent."""

    overall: pd.DataFrame
    """One row: the exact test over the seeds' means, of the tasks that were learned."""

    effects: pd.DataFrame
    """Effect sizes, descriptions and corrected p-values of the paired t test, per task."""

    layers: pd.DataFrame
    """The drift of both arms and the adjusted p-value of their difference, per task and layer."""

    controls: pd.DataFrame
    grids: pd.DataFrame
    equal_performance: pd.DataFrame
    frontier: pd.DataFrame

    budget: pd.DataFrame
    """What each run was trained with, and where it is compared
    (:func:`~loradrift.analysis.drift.budget.budget_table`)."""

    differences: pd.DataFrame
    """Every setting that differs between the arms, or over the seeds of one."""

    learned: pd.DataFrame
    """Whether each arm beats the best constant answer, per task
    (:func:`~loradrift.analysis.drift.learned.learned_table`)."""

    rounding: pd.DataFrame
    """How far rounding alone moves the drift of a run
    (:func:`~loradrift.analysis.drift.rounding.rounding_table`)."""

    @property
    def arms(self) -> Arms:
        """What is compared."""
        return Arms.read(self.compared)

    @property
    def others(self) -> list[str]:
        """Arms that have runs and were not compared."""
        return list(self.compared.loc[self.compared["role"] == "not compared", "arm"])


def compare_runs(config: ComparisonConfig) -> tuple[Pairing, DriftTables]:
    """Read the runs that can be compared and compute the tables.

    Raises:
        UserError: If no runs can be compared.
    """
    results = Path(config.results)
    arms = Arms.of(config.control, config.treatment)
    found = find_pairs(Path(config.runs), config.study, arms)
    pairing = readable(found, config.measures, results, config.seed)
    pairing = with_copies(pairing, results)
    print_problems(pairing.problems)
    if not pairing.pairs:
        raise UserError(
            f"no task has finished runs of {' and '.join(arms.names)} with the same seed and rows: "
            "nothing to compare"
        )
    tables = analyse(pairing, config.measures, results, config.seed)
    for line in unequal_training(arms, tables.budget):
        print(spelt(line, task_labels(tables.runs)), flush=True)
    return pairing, tables


def print_problems(problems: Iterable[str]) -> None:
    """Print one line for everything that is left out."""
    for problem in problems:
        print(f"not analysed: {problem}", flush=True)


def analyse(pairing: Pairing, measures: Sequence[str], results: Path, seed: int) -> DriftTables:
    """Compute every table of at least one pair.

    ``measures`` are those beside CKA and cosine; what is remembered lies in ``.remembered`` below
    ``results``; ``seed`` is that of the controls' orders, the bootstrap, and flips where they are
    too many.

    Raises:
        StoreError: If a dump is damaged; names it.
    """
    cache = DriftCache(results)
    rng = np.random.default_rng(seed)
    arms, pairs = pairing.arms, pairing.pairs
    runs = [run for pair in pairs for run in pair]
    budget = budget_table(runs)
    found = (cache.table(run_drift, run, measures=measures) for run in runs)
    drift = _stack(runs, [marked(run, own) for run, own in zip(runs, found, strict=True)])
    cka = drift[drift["measure"] == "cka"].drop(columns="measure")
    keys = ["task", "method", "seed", "step", "compared"]
    mean_drift = cka.groupby(keys, sort=False)["drift"].mean().reset_index()
    reduction = _reduction(arms, last_steps(mean_drift))
    by_task = {pair.task: [each for each in pairs if each.task == pair.task] for pair in pairs}
    by_row = {task: _by_row(own, cache) for task, own in by_task.items()}
    floors = [cache.controls(pair, seed) for pair in pairs]
    reached = [
        equal_performance(own, mean_drift).assign(task=task) for task, own in by_task.items()
    ]
    learned = learned_table(arms, pairs)
    rounding = rounding_table(pairing.copies, cache, measures)
    return DriftTables(
        compared=arms.table(pairing.others),
        runs=run_table(runs, list(budget["trained_longer"])),
        drift=drift,
        mean_drift=mean_drift,
        reduction=reduction,
        summary=ratio_summary(reduction, by_row, rounding, rng),
        overall=overall(reduction, not_learned(learned), rng),
        effects=effect_table(arms, reduction, by_row, rng),
        layers=_layers(arms, last_steps(cka), rng),
        controls=_stack([pair.treatment for pair in pairs], floors),
        grids=_stack(runs, [cache.at_end(layer_grid, run, "cka") for run in runs]),
        equal_performance=pd.concat(reached, ignore_index=True),
        frontier=_stack(runs, [_path(run, mean_drift) for run in runs]),
        budget=budget,
        differences=differences(arms, pairs),
        learned=learned,
        rounding=rounding,
    )


def _stack(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The runs' tables under each other, each with its coordinates in front."""
    labelled = []
    for run, table in zip(runs, tables, strict=True):
        place = {"task": run.task, "method": run.method, "seed": run.seed}
        labelled.append(pd.concat([pd.DataFrame(place, table.index), table], axis=1))
    return pd.concat(labelled, ignore_index=True)


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the step at which each run is compared, without ``step``."""
    return table[table["compared"]].drop(columns=["step", "compared"])


def _reduction(arms: Arms, last: pd.DataFrame) -> pd.DataFrame:
    """How far the treatment drifts against the control with the same seed."""
    wide = last.pivot(index=["task", "seed"], columns="method", values="drift").reset_index()
    control, treatment = arms.names
    wide["log_ratio"] = np.log(wide[treatment] / wide[control])
    wide["reduction_percent"] = 100 * (1 - wide[treatment] / wide[control])
    return wide.rename_axis(columns=None)


def _by_row(pairs: Sequence[Pair], cache: DriftCache) -> Array:
    """Each seed's log ratio of drifts without each probe row in turn (S, N)."""
    replicates = []
    for pair in pairs:
        control, treatment = (
            cache.at_end(mean_drift_replicates, run, "drift")["drift"].to_numpy() for run in pair
        )
        replicates.append(np.log(treatment / control))
    return np.stack(replicates)


def _layers(arms: Arms, last: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Drift of both arms in each layer; p-values adjusted over layers by shared flips."""
    tables = []
    for task, own in last.groupby("task", sort=False):
        wide = own.pivot(index="seed", columns=["method", "layer"], values="drift")
        control_SL, treatment_SL = (wide[name].to_numpy() for name in arms.names)
        tests = max_t(control_SL - treatment_SL, rng=rng)
        control_L, treatment_L = control_SL.mean(0), treatment_SL.mean(0)
        columns = {
            "task": task,
            "layer": wide[arms.control.name].columns,
            arms.control.name: control_L,
            arms.treatment.name: treatment_L,
            "ratio": treatment_L / control_L,
            "p_adjusted": tests.p_L,
            "least_p": tests.least_p,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _path(run: Run, mean_drift: pd.DataFrame) -> pd.DataFrame:
    """Validation score and mean drift at each validation of a run."""
    curve = validation_curve(run)
    return curve.assign(drift=drift_at(run, curve["step"], mean_drift))
