"""Labelled text pairs: does an adapter change what cosine scores say of them?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig

if TYPE_CHECKING:
    from loradrift.analysis.pairs.comparison import Comparison


@dataclass(kw_only=True)
class PairsConfig(AnalyzeConfig):
    """Cosine scores of labelled text pairs: pairs=<file> adapter=<folder> [base=<model>]."""

    pairs: str = field(metadata={"kind": "CSV or TSV file"})
    """Labelled text pairs: CSV with ``text1``, ``text2``, ``label``, or MRPC's TSV."""

    adapter: str = field(metadata={"kind": "folder"})
    """Folder of a PEFT adapter, or of a run."""

    base: str | None = None
    """Folder or hub name of its base model; null is what the adapter or the run names."""


def compare(settings: PairsConfig) -> "Comparison":
    """Score the pairs without and with the adapter."""
    import numpy as np

    from loradrift.analysis.pairs.comparison import compare_pairs

    rng = np.random.default_rng(settings.analysis.seed)
    return compare_pairs(Path(settings.pairs), settings.adapter, settings.base, rng)


def report(settings: PairsConfig, comparison: "Comparison") -> None:
    """Write and print the metrics of both models."""
    from loradrift.analysis.pairs.page import report_pairs

    report_pairs(comparison, Path(settings.analysis.results))


register(Analysis("pairs", PairsConfig, compare, report))
