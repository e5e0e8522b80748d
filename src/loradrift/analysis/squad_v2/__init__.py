"""The official SQuAD v2 figures of any system's predictions."""

from dataclasses import dataclass

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.values import path_field


@dataclass(kw_only=True)
class SquadReportConfig(AnalyzeConfig):
    """The official SQuAD v2 figures: dataset=<json[.gz]> predictions=<json> [na_probs=<json>]."""

    dataset: str = path_field(kind="SQuAD v2 file")
    """SQuAD v2 file, ``.json`` or ``.json.gz``."""

    predictions: str = path_field(kind="JSON file")
    """JSON object: question id -> answer, "" where it is unanswerable."""

    na_probs: str | None = path_field(None)
    """JSON object: question id -> probability that it is unanswerable."""


register(Analysis("squad_v2", SquadReportConfig, "tables:evaluate_files", "tables:show"))
