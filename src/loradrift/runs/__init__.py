"""What a run leaves behind, and who may touch it."""

from loradrift.runs.cell import Cell, CellBusyError, open_cell, record_loss
from loradrift.runs.diagnostics import read_diagnostics, write_diagnostics
from loradrift.runs.opening import diverged_run, finished_run, open_benchmark, open_run
from loradrift.runs.reading import read_record
from loradrift.runs.record import TASK_LABELS, RunRecord, Status, labelled_task

__all__ = [
    "TASK_LABELS", "Cell", "CellBusyError", "RunRecord", "Status", "diverged_run", "finished_run",
    "labelled_task", "open_benchmark", "open_cell", "open_run", "read_diagnostics", "read_record",
    "record_loss", "write_diagnostics",
]  # fmt: skip
