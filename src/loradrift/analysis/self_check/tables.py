"""The self-checks of the measures, and of the pooling before them."""

from collections.abc import Iterable, Sequence

import pandas as pd

from loradrift.analysis.self_check import ProveConfig
from loradrift.analysis.self_check.pooling import pooling_self_check
from loradrift.report.terminal import print_table
from loradrift.similarity import MEASURES, SelfCheck, raise_failed, self_check


def check_all(settings: ProveConfig) -> list[SelfCheck]:
    """Run the self-checks of every measure."""
    return run_self_checks(MEASURES, settings.analysis.seed)


def show(settings: ProveConfig, self_checks: list[SelfCheck]) -> None:
    """Print the self-checks."""
    print_table(self_check_table(self_checks), "Every self-check holds")


def run_self_checks(measures: Iterable[str], seed: int) -> list[SelfCheck]:
    """Run the self-checks of these measures and of the pooling before them; all hold.

    Raises:
        SelfCheckError: If one does not.
    """
    self_checks = pooling_self_check(seed=seed) + self_check(list(measures), seed=seed)
    raise_failed(self_checks)
    return self_checks


def self_check_table(self_checks: Sequence[SelfCheck]) -> pd.DataFrame:
    """One row per self-check."""
    return pd.DataFrame(
        [
            (p.measure, p.claim, f"{p.expected:.6g}", f"{p.measured:.6g}", p.tolerance, p.holds)
            for p in self_checks
        ],
        columns=["measure", "claim", "expected", "measured", "tolerance", "holds"],
    )
