"""``analysis=diagnose``: is this adapter really applied?"""

from dataclasses import dataclass
from typing import ClassVar

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.values import path_field


@dataclass(kw_only=True)
class DiagnoseConfig(AnalyzeConfig):
    """Is this adapter really applied: adapter=<folder> [base=<model>]."""

    adapter: str = path_field(kind="folder")
    """Folder of a PEFT adapter, or of a run."""

    base: str | None = path_field(None)
    """Folder or hub name of its base model; null is what the adapter or the run names."""

    exit_code: ClassVar[int] = 2  # 1 is a verdict


register(Analysis("diagnose", DiagnoseConfig, "page:judge", "page:report"))
