"""The self-checks of the measures, and of the pooling before them: it sees a row's own tokens."""

# Shape suffixes: B rows, T tokens, D width.

from collections.abc import Iterable, Sequence

import pandas as pd
import torch

from loradrift.activations.pooling import POOLINGS
from loradrift.analysis.self_check import ProveConfig
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
    self_checks = pooling_self_check(seed) + self_check(list(measures), seed=seed)
    raise_failed(self_checks)
    return self_checks


def self_check_table(self_checks: Sequence[SelfCheck]) -> pd.DataFrame:
    """One row per self-check."""
    columns = ["measure", "claim", "expected", "measured", "tolerance", "holds"]
    rows = [
        (
            p.measure,
            p.claim,
            f"{p.expected:.6g}",
            f"{p.measured:.6g}",
            p.tolerance,
            "yes" if p.holds else "no",
        )
        for p in self_checks
    ]
    return pd.DataFrame(rows, columns=columns)


def pooling_self_check(seed: int = 0) -> list[SelfCheck]:
    """Pool the same tokens with and without padding and special tokens around them.

    The padding holds NaN, as attention may leave there, and the beginning-of-sequence token is a
    thousand times as large as the others. Each pooling's self-check is of the largest difference.
    """
    generator = torch.Generator().manual_seed(seed)
    x_BTD = torch.randn(8, 12, 16, generator=generator)
    content_BT = torch.arange(12) < torch.arange(5, 13)[:, None]
    bos_B1D = 1000 * torch.randn(8, 1, 16, generator=generator)
    wide_BTD = torch.cat([bos_B1D, x_BTD, torch.full((8, 7, 16), torch.nan)], 1)
    mask_BT = torch.nn.functional.pad(content_BT, (1, 7))
    checks = []
    for name, pool in POOLINGS.items():
        difference = (pool(x_BTD, content_BT) - pool(wide_BTD, mask_BT)).abs().max().item()
        claim = "difference after padding and special tokens"
        checks.append(SelfCheck(f"pooling: {name}", claim, 0.0, difference, 1e-6))
    return checks
