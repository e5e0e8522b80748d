"""What other people's readers expect of the sweep: ``runs/phase1a_lora_sweep/``.

Each configuration has a folder with ``diagnostics.jsonl``, one row for each seed and evaluation;
``sweep_summary.txt`` says what they came to.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from loradrift.config import UserError
from loradrift.files import write_atomic
from loradrift.runs import RunRecord, Status, read_diagnostics, write_diagnostics
from loradrift.study.reconstruction.cells import ReconstructionCell
from loradrift.study.reconstruction.configurations import CONFIGURATIONS, LLAMA_BLOCKS

ROWS = "diagnostics.jsonl"
SUMMARY = "sweep_summary.txt"

FIGURES = {"text_f1": "F1", "text_em": "EM", "loss": "gold loss"}
"""Figure of an evaluation -> its column."""


def export_sweep(folder: Path, cells: Sequence[ReconstructionCell]) -> None:
    """Write the finished cells' own diagnostics below ``folder``; each file is whole or absent.

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
    with write_atomic(folder / SUMMARY) as temporary:
        temporary.write_text(summary(cells, rows), encoding="utf-8")


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


def summary(
    cells: Sequence[ReconstructionCell], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """The sweep in a page of text."""
    by_name: dict[str, list[ReconstructionCell]] = {}
    for cell in cells:
        by_name.setdefault(cell.label[0], []).append(cell)
    table = [["configuration", "adapts", "runs", "steps", *FIGURES.values(), "best F1 (validation)",
              "alarms"]]  # fmt: skip
    table += [_line(name, own, rows.get(name, ())) for name, own in by_name.items()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    [first, *_] = cells
    name, best = first.config.study.name, max(_all(rows), key=lambda row: row["text_f1"])
    missing = [cell.place for cell in cells if not cell.record]
    return "\n".join(
        [
            f"LoRA sweep of study={name}: {first.config.model.name}, data={first.config.data.name}",
            "",
            *lines,
            "",
            "F1, EM and gold loss (nats per token) are means over runs on the reported rows, with",
            "the checkpoint that the validation rows chose. The best F1 of a validation is that of",
            "many: it chooses, and reports nothing.",
            f"A name's l8, l12, l16 are shares of Llama's {LLAMA_BLOCKS} blocks; 'adapts' is what",
            "they are on this model.",
            f"Best F1 of all validations: {best['text_f1']:.2f} ({best['configuration']}, seed "
            f"{best['seed']}, step {best['step']}).",
            *([f"Not finished: {'; '.join(missing)}."] if missing else []),
            "Intervals, differences to none and the verdict: python analyze.py "
            f"analysis=reconstruction analysis.study={name}",
            "",
        ]
    )


def _all(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    return [row for each in rows.values() for row in each]


def _line(
    name: str, cells: Sequence[ReconstructionCell], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    records = [cell.record for cell in cells if cell.record]
    whole = [record for record in records if record.status is Status.SUCCESS]
    collapsed = len(records) - len(whole)
    runs = f"{len(records)} of {len(cells)}" + f", {collapsed} collapsed" * bool(collapsed)
    steps = _range([record.steps for record in records])
    best = max((row["text_f1"] for row in rows), default=None)
    alarms = sum(record.collapse.get("alarms", 0) for record in records)
    return [
        name,
        cells[0].label[1],
        runs,
        steps,
        *(_mean(whole, f"evaluation/{figure}") for figure in FIGURES),
        "-" if best is None else f"{best:.2f}",
        str(alarms),
    ]


def _mean(records: Sequence[RunRecord], figure: str) -> str:
    """Of runs that came to their end: a collapsed one has no such figure."""
    values = (record.metrics.get(figure) for record in records)
    found = [value for value in values if value is not None]
    return f"{mean(found):.2f}" if found else "-"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "-"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
