"""What one process has at hand while it computes its part of a cell."""

from dataclasses import dataclass

from loradrift.config import Config
from loradrift.data import ALONE, EvaluationBatches, Rows, Share
from loradrift.runs import Cell
from loradrift.tasks.base import Task
from loradrift.tasks.prepared import PreparedData
from loradrift.training.forgetting import measure_forgetting


@dataclass(frozen=True)
class Worker:
    """One process's part in computing a cell."""

    config: Config
    cell: Cell
    data: PreparedData
    began: float
    """``time.perf_counter()`` when this process took up the cell, later by what it took to make the
    base model."""

    share: Share = ALONE

    def forgetting(self, when: str, task: Task) -> dict[str, float]:
        """Loss of the task's backbone on neutral text, ``before`` or ``after`` training."""
        return measure_forgetting(when, self.config, task.backbone, self.data, self.share)

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.share.rank == 0

    @property
    def reports(self) -> bool:
        """Whether the reported split is evaluated: a search's trial never sees it."""
        return self.config.search.trial is None

    def evaluation_batches(self, table: Rows) -> EvaluationBatches:
        """All rows of ``table``, in batches twice as large as in training, which keeps less."""
        size = 2 * self.config.task.batch_size
        return EvaluationBatches(table, self.data.collate, batch_size=size, share=self.share)
