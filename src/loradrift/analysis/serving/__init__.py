"""What adapters side by side cost in an engine: latency, throughput, memory, and H3's verdict."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeServingConfig(AnalyzeConfig):
    """What adapters side by side cost in an engine, against merged models: [cell=<folder>]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    cell: str | None = None
    """The cell that the report is about, as its folder is called below ``<runs>/serving``:
    ``vllm/tiny``. Null is the newest one that is finished, of vLLM if there is one."""

    shown: list[str] = field(default_factory=list)
    """Further cells whose tables are printed: ``benchmark.py -m`` names those that it measured."""


FIGURES = ("page:SERVING", "page:CELLS")

register(Analysis("serving", AnalyzeServingConfig, "tables:tabulate", "page:report", FIGURES))
