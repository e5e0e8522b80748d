"""What an arm costs the language model: how far its states on full texts have moved."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.layers import run_drift
from loradrift.analysis.drift.usable_pairs import DriftCache
from loradrift.analysis.reconstruction.arms import Arm
from loradrift.analysis.reconstruction.reading import ReconstructionRun


def cka_table(
    runs: Sequence[ReconstructionRun], arms: Mapping[ReconstructionRun, Arm], results: Path
) -> tuple[pd.DataFrame, list[str]]:
    """CKA of each run's last dump with the base model: ``cka``, its mean over layers, ``lowest``.

    A line for each run whose dumps cannot be read.
    """
    cache, rows, problems = DriftCache(results), [], []
    for run in runs:
        try:
            run.drift_run.store.check_sizes()
            drift = cache.table(run_drift, run.drift_run, measures=())
        except StoreError as error:
            problems.append(f"{run.place}: no CKA: {error}")
            continue
        last = drift[(drift["measure"] == "cka") & (drift["step"] == drift["step"].max())]
        cka = 1 - last["drift"]
        rows.append(
            {
                "arm": arms[run].text,
                "seed": run.seed,
                "step": int(last["step"].iloc[0]),
                "layers": len(last),
                "cka": cka.mean(),
                "lowest": cka.min(),
                "lowest_layer": int(last.loc[cka.idxmin(), "layer"]),
            }
        )
    columns = ["arm", "seed", "step", "layers", "cka", "lowest", "lowest_layer"]
    return pd.DataFrame(rows, columns=columns), problems


def mean_cka(table: pd.DataFrame, arm: Arm) -> float:
    """An arm's mean over seeds; NaN where no run has dumps."""
    return float(table.loc[table["arm"] == arm.text, "cka"].mean())
