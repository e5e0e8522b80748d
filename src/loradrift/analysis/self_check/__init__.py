"""``analysis=prove``: every measure and every pooling against what it must give."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig

if TYPE_CHECKING:
    from loradrift.similarity import SelfCheck


@dataclass(kw_only=True)
class ProveConfig(AnalyzeConfig):
    """The self-check of all measures alone."""


def check_all(settings: ProveConfig) -> "list[SelfCheck]":
    """Run the self-checks of every measure."""
    from loradrift.analysis.self_check.tables import run_self_checks
    from loradrift.similarity import MEASURES

    return run_self_checks(MEASURES, settings.analysis.seed)


def show(settings: ProveConfig, self_checks: "list[SelfCheck]") -> None:
    """Print them."""
    from loradrift.analysis.self_check.tables import self_check_table
    from loradrift.report.terminal import print_table

    print_table(self_check_table(self_checks), "Every self-check holds")


register(Analysis("prove", ProveConfig, check_all, show))
