"""The official SQuAD v2 figures of any system's predictions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig

if TYPE_CHECKING:
    from loradrift.data.squad_v2.metrics import Evaluation


@dataclass(kw_only=True)
class SquadReportConfig(AnalyzeConfig):
    """The official SQuAD v2 figures: dataset=<json[.gz]> predictions=<json> [na_probs=<json>]."""

    dataset: str = field(metadata={"kind": "SQuAD v2 file"})
    """SQuAD v2 file, ``.json`` or ``.json.gz``."""

    predictions: str = field(metadata={"kind": "JSON file"})
    """JSON object: question id -> answer, "" where it is unanswerable."""

    na_probs: str | None = None
    """JSON object: question id -> probability that it is unanswerable."""


def evaluate(settings: SquadReportConfig) -> "Evaluation":
    """Evaluate the predictions."""
    from loradrift.analysis.squad_v2.tables import evaluate_files

    na_probs = None if settings.na_probs is None else Path(settings.na_probs)
    return evaluate_files(Path(settings.dataset), Path(settings.predictions), na_probs)


def show(settings: SquadReportConfig, evaluation: "Evaluation") -> None:
    """Print the figures as JSON."""
    import json

    print(json.dumps(evaluation.figures, indent=2))


register(Analysis("squad_v2", SquadReportConfig, evaluate, show))
