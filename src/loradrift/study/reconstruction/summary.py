"""The sweep in a page of text."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from loradrift.config import LoraConfig, MethodConfig
from loradrift.files import read_json
from loradrift.runs import RunRecord, Status
from loradrift.study.reconstruction.cells import ReconstructionCell
from loradrift.study.reconstruction.configurations import LLAMA_BLOCKS

FIGURES = {"text_f1": "F1", "text_em": "EM", "loss": "token loss"}
"""Figure of an evaluation -> its column."""

COLUMNS = (
    "configuration", "adapts", "runs", "steps", *FIGURES.values(), "F1 - none (95 %)", "verdict",
    "alarms", "best F1 (validation)",
)  # fmt: skip

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Configuration -> the evaluations of its runs while they trained."""


class Gain(NamedTuple):
    """What the analysis found of a configuration."""

    points: str = "-"
    """Of F1 over the baseline, with the interval."""

    verdict: str = "-"


def summary(cells: Sequence[ReconstructionCell], rows: Rows, analysed: Path) -> str:
    """The text; verdicts are of the analysis that ``analysed`` holds, if it is of this study."""
    by_name: dict[str, list[ReconstructionCell]] = {}
    for cell in cells:
        by_name.setdefault(cell.label[0], []).append(cell)
    found = gains(cells, analysed)
    table = [list(COLUMNS)]
    table += [
        _line(name, own, found.get(name, Gain()), rows.get(name, ()))
        for name, own in by_name.items()
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    config = cells[0].config
    best = max((row for each in rows.values() for row in each), key=lambda row: row["text_f1"])
    missing = [cell.place for cell in cells if not cell.record]
    lines = [
        f"LoRA sweep of study={config.study.name}: model={config.model.name}, "
        f"data={config.data.name}",
        "",
        *("  ".join(map(str.ljust, line, widths)).rstrip() for line in table),
        "",
        "F1, EM and token loss (nats, over all tokens of the gold answers; the report's gold loss",
        "is a mean over rows) are means over runs on the reported rows, with the checkpoint that",
        "the validation rows chose. 'F1 - none' is paired by seed and row; '-' stands where the",
        "analysis has not been run. The best F1 of a validation chooses a checkpoint: it is no",
        "result.",
        f"A name's l8, l12, l16 are shares of Llama's {LLAMA_BLOCKS} blocks; 'adapts' is what they",
        "are on this model.",
        f"Best F1 of all validations: {best['text_f1']:.2f} ({best['configuration']}, seed "
        f"{best['seed']}, step {best['step']}).",
    ]
    if missing:
        lines.append(f"Not finished: {'; '.join(missing)}.")
    again = f"python analyze.py analysis=reconstruction analysis.study={config.study.name}"
    lines.append(f"Ladder, intervals and figures: {again}")
    return "\n".join([*lines, ""])


def gains(cells: Sequence[ReconstructionCell], analysed: Path) -> dict[str, Gain]:
    """Configuration -> what the analysis found of it; nothing without an analysis of the study."""
    content: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        content = read_json(analysed)
    if content.get("study") != cells[0].config.study.name:
        return {}
    arms = {
        (each["method"], each["rank"], each["alpha"], each["layers"]): each
        for each in content["comparisons"]
        if each["verdict"]
    }
    known = {cell.label[0]: arms.get(_arm(cell.config.method)) for cell in cells}
    return {name: _gain(arm) for name, arm in known.items() if arm}


def _arm(method: MethodConfig) -> tuple[Any, Any, Any, Any]:
    if isinstance(method, LoraConfig):
        return method.name, method.rank, method.alpha, str(method.layers)
    return method.name, None, None, None


def _gain(arm: Mapping[str, Any]) -> Gain:
    ends = arm["gain_low"], arm["gain_high"]
    interval = "no interval" if None in ends else f"{ends[0]:.1f} to {ends[1]:.1f}"
    verdict = "at least " * bool(arm["at_least"]) + arm["verdict"]
    return Gain("-" if arm["gain"] is None else f"{arm['gain']:+.1f} ({interval})", verdict)


def _line(
    name: str, cells: Sequence[ReconstructionCell], gain: Gain, rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    records = [cell.record for cell in cells if cell.record]
    whole = [record for record in records if record.status is Status.SUCCESS]
    collapsed = len(records) - len(whole)
    runs = f"{len(records)} of {len(cells)}" + f", {collapsed} collapsed" * bool(collapsed)
    best = max((row["text_f1"] for row in rows), default=None)
    return [
        name,
        cells[0].label[1],
        runs,
        _range([record.steps for record in records]),
        *(_mean(whole, f"evaluation/{figure}") for figure in FIGURES),
        *gain,
        str(sum(record.collapse.get("alarms", 0) for record in records)),
        "-" if best is None else f"{best:.2f}",
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
