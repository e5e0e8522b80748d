"""What a W&B workspace and report show of a study."""

from dataclasses import dataclass

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig


@dataclass(kw_only=True)
class DashboardsConfig(AnalyzeConfig):
    """The study in W&B: a run, a workspace, a report. [project=<name>] [entity=<name>]."""

    project: str = "loradrift"
    """W&B project."""

    entity: str | None = None
    """W&B user or team; null is the key's own."""


register(Analysis("dashboards", DashboardsConfig, "dashboards:collect", "dashboards:push"))
