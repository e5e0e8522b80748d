"""Tables of single runs: made of whole files only, and not made again while these are the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.budget import at_equal_rows, marked
from loradrift.analysis.drift.control_checks import check_controls
from loradrift.analysis.drift.layers import controls, mean_drift_replicates, run_drift
from loradrift.analysis.drift.pairing import Pair, Pairing
from loradrift.analysis.drift.performance import validation_curve
from loradrift.analysis.tables import code_version
from loradrift.caching import cached, entry
from loradrift.config import UserError


class DriftCache:
    """Tables of single runs, by their dumps' checksums and the code that makes them.

    What is remembered lies in ``.remembered`` below the folder of the results.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / ".remembered"
        self.code = code_version()

    def table(
        self, compute: Callable[..., pd.DataFrame], *runs: Run, **options: Any
    ) -> pd.DataFrame:
        """What a function of :mod:`~loradrift.analysis.drift.layers` gives for the runs."""
        dumps = [run.store.manifest["steps"] for run in runs]
        key = {"what": compute.__name__, "options": options, "code": self.code, "dumps": dumps}

        def make(path: Path) -> None:
            compute(*runs, **options).to_parquet(path, index=False)

        return cached(entry(self.folder, key, ".parquet"), make, pd.read_parquet)

    def at_end(self, compute: Callable[..., pd.DataFrame], run: Run, value: str) -> pd.DataFrame:
        """What a function of a dump gives where the run is compared.

        Its column ``value`` is interpolated between two dumps.
        """
        tables = {step: self.table(compute, run, step=step) for step in run.ends}
        mean = sum(weight * tables[step][value] for step, weight in run.ends.items())
        return tables[min(tables)].assign(**{value: mean})

    def controls(self, pair: Pair, seed: int) -> pd.DataFrame:
        """What the instrument shows of the pair: the treatment's dumps against the control's."""
        run, partner = pair.treatment, pair.control
        return self.table(controls, run, partner, seed=seed, step=max(run.ends))


def readable(pairing: Pairing, measures: Sequence[str], results: Path, seed: int = 0) -> Pairing:
    """Keep the pairs whose files are whole and show a drift; the others become problems.

    Of runs that saw unequal many rows, the longer one ends where the other does. ``seed`` draws
    the controls' orders. What is read is remembered, so that
    :func:`~loradrift.analysis.drift.tables.analyse` finds it.
    """
    cache = DriftCache(results)
    pairs, problems = [], list(pairing.problems)
    for pair in pairing.pairs:
        place = f"{pair.task} seed={pair.seed}"
        try:
            equal = at_equal_rows(pair)
            drifts = {run.method: _checked_drift(run, cache, measures) for run in equal}
            check_controls(equal, cache.controls(equal, seed), drifts)
            pairs.append(equal)
        except StoreError as error:
            problems.append(f"{place}: {error}; move the run away and repeat its own command")
        except UserError as error:
            problems.append(f"{place}: {error}")
    return pairing._replace(pairs=pairs, problems=problems)


def _checked_drift(run: Run, cache: DriftCache, measures: Sequence[str]) -> float:
    """The run's mean drift over layers where it is compared.

    Raises:
        StoreError: If a dump is damaged, or holds what has no drift.
        UserError: If a layer has no variance, if there is no validation score, or if the run has
            not moved, so that nothing can be a multiple of its drift.
    """
    # What is remembered is found by the manifest, which stays when the files are gone.
    run.store.check_sizes()
    drift, where = cache.table(run_drift, run, measures=measures), ""
    undefined = drift[(drift["measure"] == "cka") & drift["drift"].isna()]
    replicates = cache.at_end(mean_drift_replicates, run, "drift")["drift"]
    if len(undefined):
        where = "layer {layer} at step {step}".format(**undefined.iloc[0])
    elif not np.isfinite(replicates).all():
        where = "a layer, without one of its rows,"
    if where:
        raise UserError(
            f"{run.folder}: {where} has no variance over the probe's rows, so its drift is "
            "undefined; see whether training collapsed, or train both methods with another "
            "callbacks.activation_dump.pooling"
        )
    validation_curve(run)
    cka = marked(run, drift[drift["measure"] == "cka"])
    mean, step = cka.loc[cka["compared"], "drift"].mean(), cka.loc[cka["compared"], "step"].iloc[0]
    if not min(mean, replicates.min()) > 0:
        without = "" if mean <= 0 else f", and {replicates.min():.2g} without one row of the probe"
        raise UserError(
            f"{run.folder}: {run.method} did not move (its drift is {mean:.2g} at step {step:.6g}"
            f"{without}), so nothing is a multiple of it; a frozen backbone never moves; else "
            "see whether its learning rate is 0, move the run away and train it again"
        )
    return float(mean)
