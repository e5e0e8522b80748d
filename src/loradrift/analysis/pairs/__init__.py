"""Labelled text pairs: does an adapter change what cosine scores say of them?"""

from dataclasses import dataclass

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.values import path_field


@dataclass(kw_only=True)
class PairsConfig(AnalyzeConfig):
    """Cosine scores of labelled text pairs: pairs=<file> adapter=<folder> [base=<model>]."""

    pairs: str = path_field(kind="CSV or TSV file")
    """Labelled text pairs: CSV with ``text1``, ``text2``, ``label``, or MRPC's TSV."""

    adapter: str = path_field(kind="folder")
    """Folder of a PEFT adapter, or of a run."""

    base: str | None = path_field(None)
    """Folder or hub name of its base model; null is what the adapter or the run names."""


register(Analysis("pairs", PairsConfig, "comparison:compare", "page:report"))
