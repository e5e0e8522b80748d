"""What other people's readers expect of the sweep: ``runs/phase1a_lora_sweep/``.

Each configuration has a folder with ``diagnostics.jsonl``, one row for each seed and evaluation;
``sweep_summary.txt`` says what they came to.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.runs import read_diagnostics, write_diagnostics
from loradrift.study.reconstruction.cells import ReconstructionCell
from loradrift.study.reconstruction.configurations import CONFIGURATIONS
from loradrift.study.reconstruction.summary import summary

ROWS = "diagnostics.jsonl"
SUMMARY = "sweep_summary.txt"


def export_sweep(folder: Path, cells: Sequence[ReconstructionCell], analysed: Path) -> None:
    """Write the finished cells' own diagnostics below ``folder``; each file is whole or absent.

    Args:
        folder: Where other people's readers look.
        cells: Of the sweep.
        analysed: ``reconstruction.json`` of the analysis, whose verdicts the summary quotes.

    Raises:
        UserError: If no cell is finished, or a run has no diagnostics.
    """
    finished = [cell for cell in cells if cell.record]
    if not finished:
        raise UserError("the sweep has no finished run: there is nothing to export")
    rows: dict[str, list[dict[str, Any]]] = {}
    for cell in finished:
        rows.setdefault(cell.label[0], []).extend(diagnostics_of(cell))
    for name, each in rows.items():
        write_diagnostics(folder / name / ROWS, each)
    for name in CONFIGURATIONS.keys() - rows.keys():  # of an export of more configurations
        (folder / name / ROWS).unlink(missing_ok=True)
    text = summary(cells, rows, analysed)
    with write_atomic(folder / SUMMARY) as temporary:
        temporary.write_text(text, encoding="utf-8")


def diagnostics_of(cell: ReconstructionCell) -> list[dict[str, Any]]:
    """The evaluations of a run while it trained, with its configuration.

    Raises:
        UserError: If there are none, or one has no F1.
    """
    path = cell.folder / ROWS
    found = read_diagnostics(path)
    if not found:
        raise UserError(f"{path} is missing or empty: the run was not evaluated while it trained")
    for row in found:
        if row.get("text_f1") is None:
            raise UserError(f"{path}: the evaluation at step {row['step']} has no text_f1")
    own = {"configuration": cell.label[0], "seed": cell.config.seed}
    return [own | row for row in found]
