"""Tables of single runs: made of whole files only, and not made again while these are the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.layers import mean_drift_replicates, run_drift
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


def readable(pairing: Pairing, measures: Sequence[str], results: Path) -> Pairing:
    """Keep the pairs whose files are whole and show a drift; the others become problems.

    Their drift is remembered, so that :func:`~loradrift.analysis.drift.tables.analyse` finds it.
    """
    cache = DriftCache(results)
    pairs, problems = [], list(pairing.problems)
    for pair in pairing.pairs:
        place = f"{pair.task} seed={pair.seed}"
        try:
            _check(pair, cache, measures)
            pairs.append(pair)
        except StoreError as error:
            problems.append(f"{place}: {error}; move the run away and repeat its own command")
        except UserError as error:
            problems.append(f"{place}: {error}")
    return pairing._replace(pairs=pairs, problems=problems)


def _check(pair: Pair, cache: DriftCache, measures: Sequence[str]) -> None:
    """Refuse runs that would end the analysis of all others.

    Raises:
        StoreError: If a dump is damaged, or holds what has no drift.
        UserError: If a layer has no variance, if there is no validation score, or if the control
            has no drift at its last step, of which nothing is a percentage.
    """
    for run in pair:
        # What is remembered is found by the manifest, which stays when the files are gone.
        run.store.check_sizes()
        drift, where = cache.table(run_drift, run, measures=measures), ""
        undefined = drift[(drift["measure"] == "cka") & drift["drift"].isna()]
        if len(undefined):
            where = "layer {layer} at step {step}".format(**undefined.iloc[0])
        elif not np.isfinite(cache.table(mean_drift_replicates, run)["drift"]).all():
            where = "a layer, without one of its rows,"
        if where:
            raise UserError(
                f"{run.folder}: {where} has no variance over the probe's rows, so its drift is "
                "undefined; see whether training collapsed, or train both methods with another "
                "callbacks.activation_dump.pooling"
            )
        validation_curve(run)
    run, drift = pair.control, cache.table(run_drift, pair.control, measures=measures)
    last = drift[(drift["measure"] == "cka") & (drift["step"] == drift["step"].max())]
    if last["drift"].mean() <= 0:
        raise UserError(
            f"{run.folder}: {run.method} did not move (its drift is 0 at step "
            f"{last['step'].iloc[0]}), so no reduction in percent of it exists; see whether its "
            "learning rate is 0, move the run away and train it again"
        )
