"""Tables of single runs: made of whole files only, and not made again while these are the same."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.layers import controls, layer_grid, mean_drift_replicates, run_drift
from loradrift.analysis.drift.pairing import Pair, Pairing
from loradrift.analysis.drift.performance import validation_curve
from loradrift.analysis.drift.run_view import Run
from loradrift.analysis.tables import code_version, remembered
from loradrift.config import UserError


class DriftCache:
    """Tables of single runs, by their dumps' checksums and the code that makes them.

    What is remembered lies in ``.remembered`` below the folder of the results.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / ".remembered"
        self.code = code_version()

    def _table(self, what: str, compute: Callable[[], pd.DataFrame], *runs: Run) -> pd.DataFrame:
        dumps = [run.store.manifest["steps"] for run in runs]
        key = {"what": what, "code": self.code, "dumps": dumps}
        return remembered(self.folder, key, compute)

    def drift(self, run: Run, measures: Sequence[str]) -> pd.DataFrame:
        """:func:`~loradrift.analysis.drift.layers.run_drift` of a run."""
        return self._table(f"drift {sorted(measures)}", partial(run_drift, run, measures), run)

    def controls(self, pair: Pair, seed: int) -> pd.DataFrame:
        """:func:`~loradrift.analysis.drift.layers.controls` of the treatment's run."""
        compute = partial(controls, pair.treatment, pair.control, seed)
        return self._table(f"controls {seed}", compute, *pair)

    def grid(self, run: Run) -> pd.DataFrame:
        """:func:`~loradrift.analysis.drift.layers.layer_grid` of a run."""
        return self._table("grid", partial(layer_grid, run), run)

    def replicates(self, run: Run) -> pd.DataFrame:
        """:func:`~loradrift.analysis.drift.layers.mean_drift_replicates` of a run."""
        return self._table("replicates", partial(mean_drift_replicates, run), run)


def readable(pairing: Pairing, measures: Sequence[str], results: Path) -> Pairing:
    """Keep the pairs whose files are whole and show a drift; the others become problems.

    Their drift is remembered, so that :func:`~loradrift.analysis.drift.tables.analyse` finds it.
    """
    cache = DriftCache(results)
    pairs, problems = [], list(pairing.problems)
    for pair in pairing.pairs:
        place = f"{pair.task} seed={pair.seed}"
        try:
            for run in pair:
                _check(run, cache, measures)
            _check_moved(pair.control, cache, measures)
            pairs.append(pair)
        except StoreError as error:
            problems.append(f"{place}: {error}; move the run away and repeat its own command")
        except UserError as error:
            problems.append(f"{place}: {error}")
    return pairing._replace(pairs=pairs, problems=problems)


def _check(run: Run, cache: DriftCache, measures: Sequence[str]) -> None:
    """Refuse a run that would end the analysis of all others.

    Raises:
        StoreError: If a dump is damaged, or holds what has no drift.
        UserError: If a layer has no variance, or there is no validation score.
    """
    # What is remembered is found by the manifest, which stays when the files are gone.
    run.store.check_sizes()
    drift = cache.drift(run, measures)
    undefined, where = drift[(drift["measure"] == "cka") & drift["drift"].isna()], ""
    if len(undefined):
        where = "layer {layer} at step {step}".format(**undefined.iloc[0])
    elif not np.isfinite(cache.replicates(run)["drift"]).all():
        where = "a layer, without one of its rows,"
    if where:
        raise UserError(
            f"{run.folder}: {where} has no variance over the probe's rows, so its drift is "
            "undefined; see whether training collapsed, or train both methods with another "
            "callbacks.activation_dump.pooling"
        )
    validation_curve(run)


def _check_moved(run: Run, cache: DriftCache, measures: Sequence[str]) -> None:
    """Refuse a control without drift at its last step, of which nothing is a percentage."""
    drift = cache.drift(run, measures)
    last = drift[(drift["measure"] == "cka") & (drift["step"] == drift["step"].max())]
    if last["drift"].mean() <= 0:
        raise UserError(
            f"{run.folder}: {run.method} did not move (its drift is 0 at step "
            f"{last['step'].iloc[0]}), so no reduction in percent of it exists; see whether its "
            "learning rate is 0, move the run away and train it again"
        )
