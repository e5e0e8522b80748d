"""``analysis=diagnose``: is this adapter really applied?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig

if TYPE_CHECKING:
    from loradrift.diagnose import Diagnosis


@dataclass(kw_only=True)
class DiagnoseConfig(AnalyzeConfig):
    """Is this adapter really applied: adapter=<folder> [base=<model>]."""

    adapter: str = field(metadata={"kind": "folder"})
    """Folder of a PEFT adapter, or of a run."""

    base: str | None = None
    """Folder or hub name of its base model; null is what the adapter or the run names."""

    exit_code: ClassVar[int] = 2  # 1 is a verdict


def judge(settings: DiagnoseConfig) -> "Diagnosis":
    """Diagnose the adapter."""
    from loradrift.diagnose.page import diagnose_or_exit

    return diagnose_or_exit(settings.adapter, settings.base)


def report(settings: DiagnoseConfig, found: "Diagnosis") -> None:
    """Print the diagnosis and write ``diagnosis.json``."""
    from loradrift.diagnose.page import report_diagnosis

    report_diagnosis(found, Path(settings.analysis.results) / "diagnosis.json")


register(Analysis("diagnose", DiagnoseConfig, judge, report))
