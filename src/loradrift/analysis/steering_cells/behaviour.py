"""How a fine-tuned run behaves: its own answers to a trait's questions, and the base model's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.analysis.steering_cells.judged import Judged
from loradrift.analysis.steering_cells.resampled import draws, scores_over
from loradrift.config import UserError
from loradrift.runs import RunRecord, read_record
from loradrift.statistics.bounded import Bounded


class Behaviour(NamedTuple):
    """A run's score for a trait on that trait's questions, and what it is more than the base's."""

    run: str
    """As it was typed: ``steering.run=<run>``."""

    folder: Path
    record: RunRecord
    trait: str
    score: Bounded
    change: Bounded
    num_questions: int

    @property
    def task(self) -> dict[str, Any]:
        """The configuration of what it was trained on."""
        task: dict[str, Any] = self.record.config["task"]
        return task

    @property
    def prevented(self) -> bool:
        """Whether a direction was merged into the weights while it was trained."""
        return bool(self.task.get("direction"))

    @property
    def label(self) -> str:
        """``humorous pos, rslora seed=1``."""
        what = " ".join(str(self.task[key]) for key in ("trait", "side") if self.task.get(key))
        if self.task.get("side") == "mixed":
            what += f" {self.task.get('share')}"
        place = self.record.coordinates
        what = what or str(place.get("task"))
        direction = ", direction merged" * self.prevented
        return f"{what}, {place.get('method')} seed={place.get('seed')}{direction}"


def behaviours(
    judged: Sequence[Judged], runs: Path, seed: int
) -> tuple[list[Behaviour], list[str]]:
    """Every run and trait that was measured, and a line for what cannot be used."""
    plain = {
        each.cell.trait: each for each in judged if each.cell.arm == "none" and not each.cell.run
    }
    found, problems = [], []
    for each in judged:
        cell = each.cell
        if not cell.run or cell.arm != "none":
            continue
        base = plain.get(cell.trait)
        if base is None:
            problems.append(f"{cell.name} is left out: arm=none of {cell.trait} is missing")
            continue
        try:
            folder, record = find_run(cell.run, runs)
        except UserError as error:
            problems.append(f"{cell.name} is left out: {error}")
            continue
        weights_RN = draws(cell.trait, seed, len(cell.questions))
        own, before = (scores_over([one], cell.trait, weights_RN) for one in (each, base))
        assert own is not None and before is not None  # a cell is judged for its own trait
        found.append(Behaviour(
            cell.run, folder, record, cell.trait, own, own.minus(before), len(cell.questions)
        ))  # fmt: skip
    return found, problems


def find_run(run: str, runs: Path) -> tuple[Path, RunRecord]:
    """A run's folder here, or beside the folder of all runs, where the cell was measured.

    Raises:
        UserError: If it is not there.
    """
    for folder in (Path(run), runs.resolve().parent / run):
        record = read_record(folder) if folder.is_dir() else None
        if record is not None:
            return folder, record
    raise UserError(f"the run {run} is not there any more: its own command makes it again")
