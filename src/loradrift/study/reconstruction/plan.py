"""``study=reconstruction``: its phases, which of them are done, and what the rest will take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from loradrift.config import Config, UserError, check
from loradrift.study.analyses import Step, analyse_study, do_step, stamp_of
from loradrift.study.bases import make_bases
from loradrift.study.cells import is_typed
from loradrift.study.dry_run import Line, base_lines, cell_lines, step_line
from loradrift.study.hydra_program import Program
from loradrift.study.reconstruction import (
    EXPORT,
    RECONSTRUCTION_PHASES,
    ReconstructionStudyConfig,
)
from loradrift.study.reconstruction.cells import ReconstructionCell, rate_cells, sweep_cells
from loradrift.study.reconstruction.configurations import CONFIGURATIONS, LLAMA_BLOCKS
from loradrift.study.reconstruction.export import ROWS, SUMMARY, export_sweep
from loradrift.study.reconstruction.sizes import (
    Shape,
    check_latents,
    check_room,
    check_samples,
    shape_of,
)

TRAININGS = ("sweep", "rate")

READ = (
    "run.json", "metrics.csv", "predictions.jsonl", "ladder.parquet", "examples.json", ROWS,
)  # fmt: skip
"""Files of a run that the report is made of."""

REPORTS = ("reconstruction.json", "report.html")


@dataclass
class ReconstructionPlan:
    """The cells of a reconstruction study, their report and their export."""

    columns: ClassVar = ("configuration", "adapts")
    cell_phases: ClassVar = TRAININGS

    estimates: ClassVar = None  # what is generated is not measured
    trained_cells: ClassVar = ()

    program: Program
    settings: Config
    study: ReconstructionStudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    _planned: dict[str, list[ReconstructionCell]] = field(default_factory=dict)

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run."""
        return [each for each in RECONSTRUCTION_PHASES if each in self.study.phases]

    @cached_property
    def shape(self) -> Shape:
        """Of the model."""
        return shape_of(self.settings.model)

    def cells(self, phase: str) -> list[ReconstructionCell]:
        """The cells of a phase, as they were when it was first looked at."""
        if phase not in self._planned:
            own = self.program, self.study, self.typed
            if phase == "sweep":
                made = sweep_cells(*own, self.shape.depth)
            else:
                swept = self.cells("sweep")[0].config.task
                made = rate_cells(*own, vars(swept)["num_latents"])
            self._planned[phase] = made
        return self._planned[phase]

    def program_of(self, phase: str) -> Program:
        """The command's own."""
        return self.program

    def validate(self) -> None:
        """Refuse what no cell could do, before anything is written."""
        if is_typed("method.optim.head_lr", self.typed):
            raise UserError(
                "method.optim.head_lr would be the LoRA runs' alone; type scale.head_lr=…, which "
                "none, their baseline, has too"
            )
        enabled = self.settings.callbacks.collapse.enabled
        rule = f"true with study={self.study.name}, whose export is what it writes"
        check(enabled, "callbacks.collapse.enabled", rule, enabled)
        head = vars(self.settings.task)["encoder_run"]
        rule = "left out with study.latents, whose runs have heads of other sizes"
        check(head is None or not self.cells("rate"), "task.encoder_run", rule, head)
        if self.study.samples is not None:
            check_samples(self.settings, self.study.samples)
        if cells := [
            cell for each in self.phases if each in TRAININGS for cell in self.cells(each)
        ]:
            check_latents(cells, self.shape.width)

    def reach(self) -> None:
        """Everything is on this machine."""

    def warn(self) -> None:
        """Say what the configurations' layers are on this model."""
        own = [CONFIGURATIONS[name] for name in self.study.configurations]
        depth = self.shape.depth
        shares = {each.blocks: each.layers(depth) for each in own if each.blocks}
        if shares:
            named, here = (", ".join(map(str, each)) for each in (shares, shares.values()))
            print(
                f"layers: the first {named} of Llama's {LLAMA_BLOCKS} blocks are, as shares, the "
                f"first {here} of this model's {depth}",
                flush=True,
            )

    def step(self, phase: str) -> Step:
        """What ``report`` or ``export`` reads and writes."""
        folder, results = Path(self.settings.runs, EXPORT), self._results
        cells = [cell for each in TRAININGS for cell in self.cells(each)]
        swept = [cell.folder / name for cell in self.cells("sweep") for name in (READ[0], ROWS)]
        names = dict.fromkeys(cell.label[0] for cell in self.cells("sweep") if cell.record)
        files: dict[str, tuple[list[Path], list[Path]]] = {
            "report": (
                [cell.folder / name for cell in cells for name in READ],
                [results / name for name in REPORTS],
            ),
            "export": (
                [*swept, results / REPORTS[0]],
                [folder / SUMMARY, *(folder / name / ROWS for name in names)],
            ),
        }
        return Step(stamp_of(phase, self.settings), *files[phase])

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines: list[Line] = []
        trained = [cell for each in TRAININGS for cell in self.cells(each)]
        for phase in self.phases:
            if phase == "base":
                lines += base_lines(trained)
            elif phase in TRAININGS:
                lines += cell_lines(phase, self.cells(phase), trained, lambda place: None)
            else:
                lines.append(step_line(phase, self.step(phase)))
        return lines

    def check_disk(self) -> str:
        """What is left to write; what does not fit is refused."""
        phases = [phase for phase in self.phases if phase in TRAININGS]
        left = [cell.config for each in phases for cell in self.cells(each) if not cell.record]
        if not left:
            return "nothing is left to write but tables and figures"
        return check_room(left, self.program.at_a_time(len(left)), self.shape.width)

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase."""
        if phase == "base":
            cells = [cell for each in TRAININGS for cell in self.cells(each)]
            make_bases(cells, self.settings.cache)
        elif phase in TRAININGS:
            run_cells(phase)
            self._planned.clear()
        else:
            do_step(phase, self.step(phase), self._report if phase == "report" else self._export)

    def _report(self) -> None:
        analyse_study("reconstruction", self.settings)

    def _export(self) -> None:
        folder = Path(self.settings.runs, EXPORT)
        export_sweep(folder, self.cells("sweep"), self._results / REPORTS[0])

    @property
    def _results(self) -> Path:
        return Path(self.settings.results, "reconstruction")
