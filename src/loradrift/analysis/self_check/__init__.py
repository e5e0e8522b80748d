"""``analysis=prove``: every measure and every pooling against what it must give."""

from dataclasses import dataclass

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig


@dataclass(kw_only=True)
class ProveConfig(AnalyzeConfig):
    """The self-check of all measures alone."""


register(Analysis("prove", ProveConfig, "tables:check_all", "tables:show"))
