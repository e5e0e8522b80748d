"""Labelled text pairs: does an adapter change what cosine scores say of them?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig


@dataclass(kw_only=True)
class PairsConfig(AnalyzeConfig):
    """Cosine scores of labelled text pairs: pairs=<file> adapter=<folder> [base=<model>]."""

    pairs: str = field(metadata={"kind": "CSV or TSV file"})
    """Labelled text pairs: CSV with ``text1``, ``text2``, ``label``, or MRPC's TSV."""

    adapter: str = field(metadata={"kind": "folder"})
    """Folder of a PEFT adapter, or of a run."""

    base: str | None = None
    """Folder or hub name of its base model; null is what the adapter or the run names."""


register(Analysis("pairs", PairsConfig, "comparison:compare", "page:report"))
