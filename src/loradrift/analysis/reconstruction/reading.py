"""The runs of ``task=reconstruction``, and what each of them left."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.drift.arms import Run, why_uncertified
from loradrift.analysis.drift.records import find_records
from loradrift.config import UserError, check
from loradrift.config.keys import flatten
from loradrift.files import read_json
from loradrift.runs import RunRecord, Status, read_diagnostics

TASK = "reconstruction"
TRAINS = "python train.py study=reconstruction -m"

COLUMNS = ("rung", "id", "context", "positions", "bytes", "answer", "f1", "em", "gold_loss")
"""Of ``ladder.parquet``."""

SOFT_PROMPT = "soft_prompt"

ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class ReconstructionRun:
    """A finished run."""

    folder: Path
    record: RunRecord
    ladder: pd.DataFrame
    """A row for each rung and evaluation row; empty of a run that collapsed and was ended."""

    diagnostics: Sequence[dict[str, Any]]
    """One for each evaluation while it trained."""

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record.coordinates["seed"])

    @property
    def collapsed(self) -> bool:
        """Whether it was ended because it had collapsed: it has no results."""
        return self.record.status is Status.COLLAPSED

    @cached_property
    def flat(self) -> dict[str, Any]:
        """Its configuration by key, as typed."""
        return flatten(self.record.config)

    @cached_property
    def rungs(self) -> dict[str, pd.DataFrame]:
        """The rows of each rung, by id."""
        groups = self.ladder.groupby("rung", sort=False)
        return {str(rung): own.set_index("id") for rung, own in groups}

    @cached_property
    def examples(self) -> list[dict[str, Any]]:
        """Some evaluation rows with their texts; none where there is no such file."""
        try:
            found = read_json(self.folder / "examples.json")
        except (OSError, ValueError):
            return []
        return found if isinstance(found, list) else []

    @property
    def drift_run(self) -> Run:
        """What analyses of drift take."""
        return Run(self.folder, self.record)

    @property
    def place(self) -> str:
        """How messages name it."""
        return str(self.folder)


def choose_study(runs: Path, study: str | None) -> str:
    """The study below ``runs`` that is meant; None is the only one with such runs.

    Raises:
        UserError: If there is no such study.
    """
    names = sorted({path.parents[3].name for path in runs.glob(f"*/{TASK}/*/seed=*/run.json")})
    if not names:
        raise UserError(
            f"{runs} holds no run of task={TASK}: `{TRAINS}` makes some, analysis.runs=… names "
            "another folder"
        )
    chosen = "null" if study is None and len(names) > 1 else study or names[0]
    check(chosen in names, "analysis.study", f"one of {', '.join(names)}", chosen)
    return chosen


def read_runs(runs: Path, study: str) -> tuple[list[ReconstructionRun], list[str]]:
    """The finished runs of a study, and a line for each that cannot be used.

    Raises:
        UserError: If none can be used.
    """
    problems: list[str] = []
    found = []
    for folder, record in find_records(runs / study, problems).items():
        if record.coordinates.get("task") != TASK or record.rounding:
            continue
        try:
            found.append(read_run(folder, record))
        except UserError as error:
            problems.append(str(error))
    if not any(not run.collapsed for run in found):
        first = f" ({problems[0]})" if problems else ""
        raise UserError(f"{runs / study} holds no finished run of task={TASK}{first}")
    return found, problems


def read_run(folder: Path, record: RunRecord) -> ReconstructionRun:
    """One run.

    Raises:
        UserError: If it is unfinished, its adapter uncertified, or a file missing or damaged.
    """
    command = " ".join(["python train.py", *record.overrides])
    if not record.status.is_finished:
        raise UserError(f"{folder}: its status is {record.status}: `{command}` goes on")
    diagnostics = read_diagnostics(folder / "diagnostics.jsonl")
    if record.status is Status.COLLAPSED:
        return ReconstructionRun(folder, record, pd.DataFrame(columns=[*COLUMNS]), diagnostics)
    if why := why_uncertified(Run(folder, record)):
        raise UserError(f"{folder}: {why}")
    path = folder / "ladder.parquet"
    try:
        ladder = pd.read_parquet(path)
        _check_ladder(ladder, record)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: `{command} force=true` makes the run again") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{path} is damaged ({reason}): `{command} force=true` makes the run again"
        ) from None
    return ReconstructionRun(folder, record, ladder, diagnostics)


def _check_ladder(ladder: pd.DataFrame, record: RunRecord) -> None:
    """Refuse a ladder that is not this run's, or not whole; ValueError says why."""
    if lost := [name for name in COLUMNS if name not in ladder]:
        raise ValueError(f"it lacks the column {lost[0]}")
    if ladder.duplicated(["rung", "id"]).any():
        raise ValueError("a row stands in a rung twice")
    own = ladder[ladder["rung"] == SOFT_PROMPT]
    sizes = ladder.groupby("rung").size()
    if own.empty or (sizes != len(own)).any():
        raise ValueError(f"its rungs are not of the same rows: {dict(sizes)}")
    numbers = ladder[["f1", "em", "gold_loss", "bytes"]].to_numpy(float)
    if not np.isfinite(numbers).all():
        raise ValueError("a figure is not finite")
    said = record.metrics.get("evaluation/text_f1")
    mean = float(own["f1"].mean())
    if said is None or abs(said - mean) > ROUNDING * max(1.0, abs(mean)):
        raise ValueError(f"its F1 is {mean:.6g}, and that of run.json {said}")
