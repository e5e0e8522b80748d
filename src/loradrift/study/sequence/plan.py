"""``study=sequence``: its phases, which of them are done, and what the rest will take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from loradrift.config import Config, UserError
from loradrift.study.analyses import READ, Step, analyse_study, do_step, stamp_of
from loradrift.study.bases import make_bases
from loradrift.study.cells import StudyCell
from loradrift.study.disk import check_disk, merged_bytes, study_sizes
from loradrift.study.dry_run import (
    Line,
    base_lines,
    cell_lines,
    estimates_of,
    step_line,
    unlike,
)
from loradrift.study.hydra_program import Program
from loradrift.study.sequence import SEQUENCE_PHASES, SequenceStudyConfig
from loradrift.study.sequence.cells import SequenceCell, sequence_cells

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates

AGAIN = ("chain/{task}/predictions.jsonl", "chain/{task}/activations/manifest.json")
"""What the report reads beside :data:`READ`, of each task that was learned before."""

REPORTS = ("sequence.json", "report.html")


@dataclass
class SequencePlan:
    """The steps of a sequence and their report."""

    columns: ClassVar = ("task", "method")

    program: Program
    settings: Config
    study: SequenceStudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run; ``chain`` is one phase a step."""
        chosen = [each for each in SEQUENCE_PHASES if each in self.study.phases]
        steps = self.cell_phases
        return [name for each in chosen for name in (steps if each == "chain" else [each])]

    @property
    def cell_phases(self) -> list[str]:
        """The steps: each needs the runs of the one before."""
        return [f"chain {number}" for number in range(1, len(self.study.tasks) + 1)]

    @cached_property
    def _steps(self) -> list[list[SequenceCell]]:
        return sequence_cells(self.program, self.study, self.typed)

    @property
    def _all(self) -> list[SequenceCell]:
        return [cell for step in self._steps for cell in step]

    def cells(self, phase: str) -> list[SequenceCell]:
        """The cells of a step, as they were when they were first looked at.

        Those of a chain of which an earlier step has diverged since are left out.
        """
        number = self.cell_phases.index(phase)
        ended = {cell.chain for step in self._steps[:number] for cell in step if cell.is_result()}
        return [cell for cell in self._steps[number] if cell.chain not in ended]

    def program_of(self, phase: str) -> Program:
        """The command's own."""
        return self.program

    def validate(self) -> None:
        """Judge every cell, before anything is written."""
        if self.settings.model.weights == "random" and len(self.study.tasks) > 1:
            raise UserError(
                "model.weights=random: a base model that is drawn at random is not stored, so no "
                f"second step of study={self.study.name} could start; take pretrained weights"
            )
        _ = self._steps

    def reach(self) -> None:
        """Everything is on this machine."""

    def warn(self) -> None:
        """Nothing is to be said."""

    @property
    def step(self) -> Step:
        """What the report reads and writes."""
        reads = [cell.folder / name for cell in self._all for name in READ]
        for number, cells in enumerate(self._steps):
            again = [name.format(task=task) for task in self.study.tasks[:number] for name in AGAIN]
            again += ["chain/first_base/manifest.json"] if number else []
            reads += [cell.folder / name for cell in cells for name in again]
        results = Path(self.settings.results, "sequence")
        return Step(stamp_of("report", self.settings), reads, [results / name for name in REPORTS])

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines = list[Line]()
        for phase in self.phases:
            match phase:
                case "base":
                    lines += base_lines(self._alone(self._all), self.estimates)
                case "report":
                    lines.append(step_line(phase, self.step))
                case _:
                    cells = self._alone(self.cells(phase))
                    lines += cell_lines(phase, cells, self._all, estimates=self.estimates)
        return lines

    @cached_property
    def estimates(self) -> "Estimates | None":
        """Of the steps, but for the tasks before that each evaluates again."""
        cells = self.trained_cells
        return estimates_of(self.program, unlike(cells, cells))

    @property
    def trained_cells(self) -> list[StudyCell]:
        """The runs, where they are to be made, as if each began with the base model."""
        return self._alone(self._all) if "chain" in self.study.phases else []

    def _alone(self, cells: Sequence[StudyCell]) -> list[StudyCell]:
        """The runs as if each began with the base model of its chain."""
        return [cell._replace(config=replace(self._from_base(cell), start={})) for cell in cells]

    def check_disk(self) -> str:
        """What is left to write, with merged models in the cache; what does not fit is refused."""
        wanted = "chain" in self.study.phases
        left = [cell for cell in self._all if wanted and not cell.record]
        if not left:
            return "nothing is left to write but tables and figures"
        sizes = study_sizes(map(self._from_base, left), self.program.at_a_time(len(left)))
        merged = [before for before, cell in self._starts if not cell.record]
        kinds = {cell.config.method.name: self._from_base(cell) for cell in merged}
        each = {name: merged_bytes(config) for name, config in kinds.items()}
        started = sum(each[cell.config.method.name] for cell in merged)
        sizes = sizes._replace(started=started)
        return check_disk(Path(self.settings.runs), sizes, self.study.name)

    @property
    def _starts(self) -> list[tuple[SequenceCell, SequenceCell]]:
        """Each run from which another one starts, and that one."""
        pairs = []
        for before, after in pairwise(self._steps):
            known = {cell.chain: cell for cell in before}
            pairs += [(known[cell.chain], cell) for cell in after]
        return pairs

    def _from_base(self, cell: StudyCell) -> Config:
        """A cell's configuration with the base model of its chain, whose sizes are its own."""
        return replace(cell.config, model=self._steps[0][0].config.model)

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase."""
        match phase:
            case "base":
                make_bases(self._alone(self._all), self.settings.cache)
            case "report":
                do_step(phase, self.step, self._report)
            case _:
                ended = len(self._steps[self.cell_phases.index(phase)]) - len(self.cells(phase))
                if ended:
                    print(f"phase {phase}: {ended} chains have ended, their last step diverged")
                run_cells(phase)

    def _report(self) -> None:
        method = self._steps[0][0].config.method
        rank = getattr(method, "rank", None)  # chains of another rank may be there too
        baseline = method.name if rank is None else f"{method.name}_r{rank}"
        keys = {"baseline": baseline, "order": self.study.tasks}
        analyse_study("sequence", self.settings, **keys)
