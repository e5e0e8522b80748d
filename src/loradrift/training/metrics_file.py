"""``metrics.csv``: one row per step, whole at every checkpoint, continued by a resumed run."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from loradrift.files import write_atomic


class MetricsFile(Logger):
    """Collects rows and writes them all at once, atomically.

    Lightning's own CSV logger deletes an earlier file when a run resumes.

    Args:
        path: The file.
        last_step: Rows after this step are dropped: the resumed run computes them again.
    """

    def __init__(self, path: Path, last_step: int) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, str]] = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    step = int(row.pop("step"))
                    if step <= last_step:
                        self.rows[step] = {name: value for name, value in row.items() if value}

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "metrics"

    @property
    def version(self) -> int:
        """Lightning asks for one."""
        return 0

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing to do: ``config.yaml`` and ``run.json`` have them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of ``step``."""
        assert step is not None
        values = {name: repr(float(value)) for name, value in metrics.items() if name != "epoch"}
        self.rows.setdefault(int(step), {}).update(values)

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        names = sorted({name for row in self.rows.values() for name in row})
        with write_atomic(self.path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *names])
            writer.writeheader()
            writer.writerows({"step": step, **row} for step, row in sorted(self.rows.items()))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file at the end, however the run ends."""
        self.save()
