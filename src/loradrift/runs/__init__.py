"""What a run leaves behind, and who may touch it."""

from loradrift.runs.cell import Cell, CellBusyError, open_cell, record_loss
from loradrift.runs.record import TASK_LABELS, RunRecord, Status, read_record
from loradrift.runs.training_run import finished_run, open_run

__all__ = [
    "TASK_LABELS", "Cell", "CellBusyError", "RunRecord", "Status", "finished_run", "open_cell",
    "open_run", "read_record", "record_loss",
]  # fmt: skip
