"""What training did to each linear layer, against drift and forgetting."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, UserError
from loradrift.config.analysis import ComparisonConfig

if TYPE_CHECKING:
    from loradrift.analysis.weights.tables import Weights


@dataclass(kw_only=True)
class WeightsConfig(AnalyzeConfig):
    """What training did to each linear layer, against drift and forgetting."""

    analysis: ComparisonConfig = field(default_factory=ComparisonConfig)


def tabulate(settings: WeightsConfig) -> "Weights":
    """Compute the tables about weights, and write them.

    Raises:
        UserError: If no weights can be read.
    """
    from loradrift.analysis.drift.find_study import find_study
    from loradrift.analysis.weights.tables import find_weights

    weights = find_weights(settings.analysis, *find_study(settings.analysis))
    if weights.modules.empty:
        raise UserError("the weights of no pair can be read: nothing to compare")
    return weights


def show(settings: WeightsConfig, weights: "Weights") -> None:
    """Print the summary and where the tables are."""
    from loradrift.analysis.weights.page import print_weights

    print_weights(weights)
    print(f"tables: {Path(settings.analysis.results) / 'weights'}")


register(Analysis("weights", WeightsConfig, tabulate, show))
