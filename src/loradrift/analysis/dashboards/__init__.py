"""What a W&B workspace and report show of a study."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig

if TYPE_CHECKING:
    from loradrift.analysis.dashboards.layout import Contents


@dataclass(kw_only=True)
class DashboardsConfig(AnalyzeConfig):
    """The study in W&B: a run, a workspace, a report. [project=<name>] [entity=<name>]."""

    project: str = "loradrift"
    """W&B project."""

    entity: str | None = None
    """W&B user or team; null is the key's own."""


def collect(settings: DashboardsConfig) -> "Contents":
    """Read what earlier analyses wrote."""
    from loradrift.analysis.dashboards.dashboards import collect_results

    return collect_results(settings.analysis)


def push(settings: DashboardsConfig, contents: "Contents") -> None:
    """Log the results as a W&B run, and push the workspace and the report."""
    from loradrift.analysis.dashboards.dashboards import push_dashboards

    push_dashboards(contents, settings.analysis, settings.project, settings.entity)


register(Analysis("dashboards", DashboardsConfig, collect, push))
