"""The whole study in one report: drift, verdicts, weights, and the flags of its search."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import ComparisonConfig, DriftConfig, FiguresConfig

if TYPE_CHECKING:
    from loradrift.analysis.drift.tables import DriftTables
    from loradrift.analysis.drift_report.tables import Findings


@dataclass(kw_only=True)
class AnalyzeDriftConfig(AnalyzeConfig):
    """Everything about drift, with the report."""

    analysis: DriftConfig = field(default_factory=DriftConfig)


@dataclass(kw_only=True)
class ReportConfig(AnalyzeConfig):
    """Figures, page and PDF again, from the tables in results/ alone."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)


@dataclass(kw_only=True)
class HypothesesConfig(AnalyzeConfig):
    """The verdicts alone."""

    analysis: ComparisonConfig = field(default_factory=ComparisonConfig)


def tabulate(settings: AnalyzeDriftConfig) -> "Findings":
    """Compute all tables from the runs, and write them."""
    from loradrift.analysis.drift_report.tables import tabulate_drift

    return tabulate_drift(settings.analysis)


def read(settings: ReportConfig) -> "Findings":
    """Read what earlier analyses wrote."""
    from loradrift.analysis.drift_report.tables import read_findings

    return read_findings(settings.analysis)


def write(settings: AnalyzeDriftConfig | ReportConfig, findings: "Findings") -> None:
    """Write the figures, the page and the PDF."""
    from loradrift.analysis.drift_report.page import write_report

    write_report(settings.analysis, findings)


def find(settings: HypothesesConfig) -> "DriftTables":
    """Compute the tables of drift."""
    from loradrift.analysis.drift.find_study import find_study

    return find_study(settings.analysis)[1]


def decide(settings: HypothesesConfig, study: "DriftTables") -> None:
    """Write and print the verdicts."""
    from loradrift.analysis.drift_report.tables import decide_hypotheses

    decide_hypotheses(settings.analysis, study)


register(Analysis("drift", AnalyzeDriftConfig, tabulate, write))
register(Analysis("report", ReportConfig, read, write))
register(Analysis("hypotheses", HypothesesConfig, find, decide))
