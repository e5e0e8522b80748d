"""What a run leaves behind, and who may touch it."""

from loradrift.runs.cell import Cell, CellBusyError, finished_record, hold, open_cell
from loradrift.runs.record import (
    SCHEMA_VERSION,
    TASK_LABELS,
    RunRecord,
    Status,
    now,
    read_record,
    write_record,
)

__all__ = [
    "SCHEMA_VERSION",
    "TASK_LABELS",
    "Cell",
    "CellBusyError",
    "RunRecord",
    "Status",
    "finished_record",
    "hold",
    "now",
    "open_cell",
    "read_record",
    "write_record",
]
