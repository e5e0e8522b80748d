"""How far two judges agree on the same answers."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeJudgesConfig(AnalyzeConfig):
    """How far two judges agree on the steered answers: first=<judge> second=<judge>."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    first: str = field(default=MISSING, metadata={"kind": "judge"})
    """A judge, as its folder below ``judged`` is called: ``oracle``, ``classifier``, or
    ``endpoint-<model>``, of which ``endpoint`` is enough where there is one."""

    second: str = field(default=MISSING, metadata={"kind": "judge"})
    """The judge that it is compared with, whose scores are the reference."""


FIGURES = ("page:JUDGES",)

register(Analysis("judges", AnalyzeJudgesConfig, "tables:tabulate", "page:report", FIGURES))
