"""The official SQuAD v2 figures of any system's predictions."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig


@dataclass(kw_only=True)
class SquadReportConfig(AnalyzeConfig):
    """The official SQuAD v2 figures: dataset=<json[.gz]> predictions=<json> [na_probs=<json>]."""

    dataset: str = field(metadata={"kind": "SQuAD v2 file"})
    """SQuAD v2 file, ``.json`` or ``.json.gz``."""

    predictions: str = field(metadata={"kind": "JSON file"})
    """JSON object: question id -> answer, "" where it is unanswerable."""

    na_probs: str | None = None
    """JSON object: question id -> probability that it is unanswerable."""


register(Analysis("squad_v2", SquadReportConfig, "tables:evaluate_files", "tables:show"))
