"""All tables of a study, from the runs' files; what did not change is not computed again."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift import controls, layer_grid, mean_drift_replicates, run_drift
from loradrift.analysis.pairing import Pair, Pairing, Run
from loradrift.analysis.performance import equal_performance, run_table, validation_curve
from loradrift.analysis.statistics import Variance, max_t, sign_flip, t_interval
from loradrift.analysis.statistics.jackknife import jackknife_variance
from loradrift.analysis.tables import code_version, remembered


class Study(NamedTuple):
    """What is known about the drift of a study; one table per question."""

    runs: pd.DataFrame
    """One row per run."""

    drift: pd.DataFrame
    """``task``, ``method``, ``seed``, ``step``, ``layer``, ``measure``, ``drift``."""

    mean_drift: pd.DataFrame
    """Likewise with the mean over layers; ``cka`` only."""

    reduction: pd.DataFrame
    """``task``, ``seed``, drift of ``full_finetune`` and ``lora`` at the last step, and
    ``reduction_percent``."""

    summary: pd.DataFrame
    """Per task: the mean reduction with its interval, and its exact test."""

    layers: pd.DataFrame
    """Per task and layer: drift of both methods and the adjusted p-value of their difference."""

    controls: pd.DataFrame
    grids: pd.DataFrame
    equal_performance: pd.DataFrame
    frontier: pd.DataFrame


def analyse(pairing: Pairing, measures: Sequence[str], results: Path, seed: int) -> Study:
    """Compute every table.

    Args:
        pairing: At least one pair.
        measures: Measures of drift beside CKA and cosine.
        results: Folder of the results; what is remembered lies in ``.remembered`` below it.
        seed: Draws the controls' orders.

    Raises:
        StoreError: If a dump is damaged; names it.
    """
    memory = _Memory(results / ".remembered")
    pairs = pairing.pairs
    runs = [run for pair in pairs for run in pair]
    drift = _stack(runs, [memory.drift(run, measures) for run in runs])
    cka = drift[drift["measure"] == "cka"].drop(columns="measure")
    keys = ["task", "method", "seed", "step"]
    mean_drift = cka.groupby(keys, sort=False)["drift"].mean().reset_index()
    last = last_steps(mean_drift)
    reduction = _reduction(last)
    return Study(
        runs=run_table(runs),
        drift=drift,
        mean_drift=mean_drift,
        reduction=reduction,
        summary=_summary(reduction, pairs, memory),
        layers=_layers(last_steps(cka)),
        controls=_stack([p.lora for p in pairs], [memory.controls(p, seed) for p in pairs]),
        grids=_stack(runs, [memory.grid(run) for run in runs]),
        equal_performance=pd.concat(
            [
                equal_performance(
                    [pair for pair in pairs if pair.task == task],
                    mean_drift[mean_drift["task"] == task],
                ).assign(task=task)
                for task in dict.fromkeys(pair.task for pair in pairs)
            ],
            ignore_index=True,
        ),
        frontier=_stack(runs, [_path(run, mean_drift) for run in runs]),
    )


def readable(pairing: Pairing, measures: Sequence[str], results: Path) -> Pairing:
    """The pairs whose dumps are all whole; the others join the problems.

    Args:
        pairing: Any pairs.
        measures: Measures of drift beside CKA and cosine.
        results: As for :func:`analyse`, which finds the drift remembered.
    """
    memory = _Memory(results / ".remembered")
    pairs, problems = [], list(pairing.problems)
    for pair in pairing.pairs:
        try:
            for run in pair:
                memory.drift(run, measures)
            pairs.append(pair)
        except StoreError as error:
            place = f"{pair.task} seed={pair.seed}"
            problems.append(f"{place}: {error}; move the run away and repeat its own command")
    return Pairing(pairs, problems)


class _Memory:
    """Tables of single runs, by their dumps' checksums and the code that makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = code_version()

    def _key(self, what: str, *runs: Run) -> dict[str, object]:
        dumps = [run.store.manifest["steps"] for run in runs]
        return {"what": what, "code": self.code, "dumps": dumps}

    def drift(self, run: Run, measures: Sequence[str]) -> pd.DataFrame:
        key = self._key(f"drift {sorted(measures)}", run)
        return remembered(self.folder, key, lambda: run_drift(run, measures))

    def controls(self, pair: Pair, seed: int) -> pd.DataFrame:
        key = self._key(f"controls {seed}", *pair)
        return remembered(self.folder, key, lambda: controls(pair.lora, pair.full_finetune, seed))

    def grid(self, run: Run) -> pd.DataFrame:
        return remembered(self.folder, self._key("grid", run), lambda: layer_grid(run))

    def replicates(self, run: Run) -> pd.DataFrame:
        key = self._key("replicates", run)
        return remembered(self.folder, key, lambda: mean_drift_replicates(run))


def _stack(runs: Sequence[Run], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The runs' tables under each other, each with its coordinates in front."""
    labelled = []
    for run, table in zip(runs, tables, strict=True):
        place = {"task": run.task, "method": run.method, "seed": run.seed}
        labelled.append(pd.concat([pd.DataFrame(place, table.index), table], axis=1))
    return pd.concat(labelled, ignore_index=True)


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last step, without ``step``."""
    last = table.groupby(["task", "method", "seed"])["step"].transform("max")
    return table[table["step"] == last].drop(columns="step")


def _reduction(last: pd.DataFrame) -> pd.DataFrame:
    """Drift reduction of LoRA against full fine-tuning with the same seed, in percent."""
    wide = last.pivot(index=["task", "seed"], columns="method", values="drift").reset_index()
    wide["reduction_percent"] = 100 * (1 - wide["lora"] / wide["full_finetune"])
    wide.columns.name = None
    return wide


def _summary(reduction: pd.DataFrame, pairs: Sequence[Pair], memory: _Memory) -> pd.DataFrame:
    rows = []
    for task, own in reduction.groupby("task", sort=False):
        values = own["reduction_percent"].to_numpy()
        of_task = [pair for pair in pairs if pair.task == task]
        seeds = t_interval(values)
        beyond = t_interval(values, _row_variance(seeds.estimate, of_task, memory))
        test = sign_flip(values)
        rows.append(
            {
                "task": task,
                "seeds": len(values),
                "mean": seeds.estimate,
                "std": float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
                "ci_lower": seeds.low,
                "ci_upper": seeds.high,
                "ci_lower_any_text": beyond.low,
                "ci_upper_any_text": beyond.high,
                "p_sign_flip": test.p,
                "least_p": test.least_p,
            }
        )
    return pd.DataFrame(rows)


def _row_variance(estimate: float, pairs: Sequence[Pair], memory: _Memory) -> Variance:
    """Jackknife variance of a task's mean reduction over the rows of its probe."""
    replicates = []
    for pair in pairs:
        full, lora = (memory.replicates(run)["drift"].to_numpy() for run in pair)
        replicates.append(100 * (1 - lora / full))
    return jackknife_variance(estimate, np.mean(replicates, axis=0))


def _layers(last: pd.DataFrame) -> pd.DataFrame:
    """Drift of both methods in each layer; p-values adjusted over layers by shared flips."""
    tables = []
    for task, own in last.groupby("task", sort=False):
        wide = own.pivot(index="seed", columns=["method", "layer"], values="drift")
        full, lora = wide["full_finetune"].to_numpy(), wide["lora"].to_numpy()
        tests = max_t(full - lora)
        tables.append(
            pd.DataFrame(
                {
                    "task": task,
                    "layer": wide["lora"].columns,
                    "full_finetune": full.mean(0),
                    "lora": lora.mean(0),
                    "reduction_percent": 100 * (1 - lora.mean(0) / full.mean(0)),
                    "p_adjusted": tests.p_L,
                    "least_p": tests.least_p,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _path(run: Run, mean_drift: pd.DataFrame) -> pd.DataFrame:
    """Validation score and mean drift at each validation of a run."""
    curve = validation_curve(run)
    own = mean_drift[
        (mean_drift["task"] == run.task)
        & (mean_drift["method"] == run.method)
        & (mean_drift["seed"] == run.seed)
    ]
    curve["drift"] = np.interp(curve["step"], own["step"], own["drift"])
    return curve
