"""Cells of the serving benchmark, from their files: what is damaged is one line, not the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from loradrift.analysis.serving.apart import Apart, as_apart
from loradrift.analysis.serving.plans import COLD, PHASES, SEARCH, Plan, read_plan
from loradrift.config import UserError
from loradrift.files import read_json, read_object
from loradrift.runs import RunRecord, Status, read_record

SAMPLES = (
    "phase", "arm", "load", "round", "request", "prompt", "asked", "served", "submitted_s",
    "ttft_s", "latency_s", "tokens", "token_times_s", "token_ids", "call_s", "answer",
    "equal_tokens", "gap", "answered_by",
)  # fmt: skip
"""The columns of a file of samples, one row per request."""

FIRST_WAITS = ("round", "arm", "adapter", "state", "load_s", "ttft_s")
"""The columns of ``cold.parquet``."""

COMMAND = "python benchmark.py"
"""What measures, and measures again what is missing."""

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class ServingCell:
    """What one cell holds."""

    name: str
    """Its folder below ``runs/serving``: ``vllm/tiny,serving.mix=zipf``."""

    plan: Plan
    record: RunRecord
    samples: pd.DataFrame
    """One row per request, of all phases that are timed; ``place`` is its place in its file."""

    cold: pd.DataFrame
    untimed: Sequence[pd.DataFrame] = ()
    """Tables of the same columns, of phases that are checked and take no part in a latency."""

    apart: Apart | None = None
    """None where the benchmark was too old, or had not come so far."""

    memory: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)
    classification: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """What could not be read, a line each."""

    @cached_property
    def answers(self) -> pd.DataFrame:
        """One row per request, of every phase."""
        return pd.concat([self.samples, *self.untimed], ignore_index=True)

    @cached_property
    def phase(self) -> str:
        """What reports look at first: offline batches, or else a server's closed loop."""
        return next(name for name in PHASES if (self.samples["phase"] == name).any())

    @property
    def rounds(self) -> int:
        """The rounds of that phase which were read."""
        return int(self.samples.loc[self.samples["phase"] == self.phase, "round"].nunique())

    @property
    def finished(self) -> bool:
        """Whether everything planned was measured."""
        return self.record.status is Status.SUCCESS

    @property
    def marks(self) -> str:
        """``2 of 5 rounds, interrupted``; empty for a cell that is finished and whole."""
        missing = self.rounds < self.plan.rounds
        said = [f"{self.rounds} of {self.plan.rounds} rounds"] if missing else []
        said += [] if self.finished else [str(self.record.status)]
        return ", ".join(said)


def read_cells(runs: Path, first: str | None = None) -> tuple[list[ServingCell], list[str]]:
    """All cells below ``<runs>/serving``, and a line for each that cannot be read.

    The first one is that which a report is about: the one that ``first`` names, or else of vLLM
    before others, finished before unfinished, and of these the newest.

    Raises:
        UserError: If there is none that can be read, or none of that name.
    """
    root = runs / "serving"
    folders = sorted({path.parent for path in root.glob("*/*/run.json")}
                     | {path.parent for path in root.glob("*/*/plan.json")})  # fmt: skip
    if not folders:
        raise UserError(f"{root} holds no cell of the serving benchmark: `{COMMAND}` measures one")
    cells, problems = [], []
    for folder in folders:
        try:
            cells.append(read_cell(folder))
        except UserError as error:
            problems.append(str(error))
    if not cells:
        more = f" ({len(problems)} cells cannot be read)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    cells.sort(key=lambda cell: cell.record.ended or cell.record.started, reverse=True)
    cells.sort(key=lambda cell: (not cell.plan.engine.startswith("vllm"), not cell.finished))
    names = [cell.name for cell in cells]
    if first is not None:
        if first not in names:
            why = next((line for line in problems if str(root / first) in line), None)
            raise UserError(why or f"cell must be one of {', '.join(sorted(names))}, got {first}")
        cells.insert(0, cells.pop(names.index(first)))
    return cells, problems


def read_cell(folder: Path) -> ServingCell:
    """What a cell holds.

    Raises:
        UserError: If its plan or its record cannot be used, or nothing was measured yet; one line.
    """
    try:
        plan = read_plan(read_json(folder / "plan.json"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no plan.json: the cell is left out") from None
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / 'plan.json'}: {_reason(error)}: the cell is left out") from None
    record = read_record(folder)
    if record is None:
        raise UserError(f"{folder} holds no run.json: the cell is left out")
    problems: list[str] = []
    tables = [_samples(path, problems) for path in sorted(folder.glob("rounds/round=*.parquet"))]
    tables += [_samples(path, problems) for path in sorted(folder.glob("server/*.parquet"))]
    samples = [table for table in tables if table is not None]
    if not samples:
        why = problems[0] if problems else record.error or f"its status is {record.status}"
        raise UserError(f"{folder} holds no samples ({why}): the cell is left out")
    untimed = [_samples(folder / "cold_samples.parquet", problems, phase=COLD)]
    searched = sorted(folder.glob("server/search/*.parquet"))
    untimed += [_samples(path, problems, phase=SEARCH) for path in searched]
    cold = _read(folder / "cold.parquet", lambda path: _table(path, FIRST_WAITS), problems)
    parts = {
        name: _read(folder / f"{name}.json", read_object, problems) or {}
        for name in ("memory", "events", "checks", "classification")
    }
    return ServingCell(
        name=folder.relative_to(folder.parents[1]).as_posix(),
        plan=plan,
        record=record,
        samples=pd.concat(samples, ignore_index=True),
        cold=pd.DataFrame(columns=list(FIRST_WAITS)) if cold is None else cold,
        untimed=[table for table in untimed if table is not None],
        apart=_read(folder / "apart.json", lambda path: as_apart(read_object(path)), problems),
        problems=tuple(problems),
        **parts,
    )


def _samples(path: Path, problems: list[str], **columns: str) -> pd.DataFrame | None:
    """The samples of a file, and ``columns`` that stand for what it says itself."""
    table = _read(path, lambda path: _table(path, SAMPLES), problems)
    return None if table is None else table.assign(place=range(len(table)), **columns)


def _read(path: Path, read: Callable[[Path], Read], problems: list[str]) -> Read | None:
    """What a file holds; None where there is none, or where it is damaged, which is noted."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        again = f"delete it and `{COMMAND}` measures it again (a finished cell: force=true, all)"
        problems.append(f"{path} is damaged ({_reason(error)}) and left out: {again}")
        return None


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if lost := [name for name in columns if name not in table]:
        raise ValueError(f"it lacks the column {lost[0]}")
    return table


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0]
