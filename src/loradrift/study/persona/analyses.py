"""The phases of a persona study that read what its cells have left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loradrift.config import Config, load_benchmark
from loradrift.config.benchmarks import BENCHMARKS
from loradrift.judges import JudgeConfig, resolve_judge
from loradrift.steering.directions import PLACE
from loradrift.study.analyses import Step, analyse_study, stamp_of
from loradrift.study.cells import key_of
from loradrift.study.hydra_program import Program
from loradrift.study.persona import PersonaStudyConfig
from loradrift.study.persona.cells import shared
from loradrift.study.persona.training import SIDES, PersonaCell

OF_SIDES = ("task.trait", "task.side")
"""Keys in which the runs differ that directions are made of."""

JUDGING = ("scale", "data", "runs", "results", "cache")
"""First parts of keys that ``benchmark=judging`` reads."""

REPORTS = ("persona.json", "report.html")
FORETOLD = ("persona_projection.json", "persona_projection.html")
"""What is written where fine-tuned runs were asked (phase ``behaviour``)."""


@dataclass(frozen=True)
class Analyses:
    """``directions``, ``judging`` and ``report``."""

    settings: Config
    study: PersonaStudyConfig
    benchmark: Program
    typed: Sequence[str]
    trained: Sequence[PersonaCell]
    answered: Sequence[Path]
    """Folders of the cells that hold answers; the first is steered by nothing."""

    of_runs: Sequence[Path]
    """Those among them whose answers are of fine-tuned runs."""

    @property
    def results(self) -> Path:
        """Where everything is written."""
        return Path(self.settings.results)

    @property
    def judge(self) -> str:
        """Who scores the answers: the source of the data decides."""
        return resolve_judge(JudgeConfig(name="auto"), self.settings.data).name

    def step(self, phase: str) -> Step:
        """What a phase reads and writes."""
        directions = self.results / PLACE / self.study.name
        judged = [folder / "judged" / self.judge for folder in self.answered]
        records = [cell.folder / "run.json" for cell in self.trained]
        answers = [folder / "answers.csv" for folder in self.answered]
        logs = [cell.folder / "metrics.csv" for cell in self.trained]
        cost = Path(self.settings.runs, "steering_cost")
        files: dict[str, tuple[list[Path], list[Path]]] = {
            "directions": (records, [directions]),
            "judging": (answers, judged),
            "report": (
                [*records, *logs, directions, *answers, *judged, cost],
                [self.results / "persona" / name for name in self._reports],
            ),
        }
        reads, writes = files[phase]
        if phase == "directions":
            reads = [cell.folder / "run.json" for cell in self._sides]
        return Step(stamp_of(phase, self.settings), reads, writes)

    @property
    def _reports(self) -> tuple[str, ...]:
        asked = any((folder / "answers.csv").is_file() for folder in self.of_runs)
        return (*REPORTS, *FORETOLD) if asked else REPORTS

    def maker(self, phase: str) -> Callable[[], None]:
        """What does a phase."""
        return {"directions": self._direct, "judging": self._judge, "report": self._report}[phase]

    @property
    def _sides(self) -> list[PersonaCell]:
        keys = [vars(cell.config.task) for cell in self.trained]
        return [
            cell
            for cell, key in zip(self.trained, keys, strict=True)
            if key["side"] in SIDES and not key["direction"]
        ]

    def _direct(self) -> None:
        settings, answers = self.settings, self.study.answers
        analyse_study(
            "persona_direction",
            settings,
            **({} if answers is None else {"answers": answers}),
            traits=self.study.traits,
            arm=self._arm,
            accelerator=settings.trainer.accelerator,
            cache=settings.cache,
        )

    @property
    def _arm(self) -> str:
        """The arm of the sides' runs: their folder's name without trait and side."""
        parts = self._sides[0].config.variant.split(",")
        rest = [each for each in parts if key_of(each) not in OF_SIDES]
        return ",".join([self.study.own_method, *rest])

    def _judge(self) -> None:
        typed = [each for each in shared(self.typed) if key_of(each).split(".")[0] in JUDGING]
        overrides = ["benchmark=judging", *typed]
        config = load_benchmark(self.benchmark.compose(overrides), overrides)
        BENCHMARKS["judging"].function()(config, overrides)

    def _report(self) -> None:
        below = Path(self.settings.runs, "steering")
        keys = {"cell": self.answered[0].relative_to(below).as_posix(), "judged_by": self.judge}
        analyse_study("persona", self.settings, **keys)
        if self._reports != REPORTS:
            analyse_study("persona_projection", self.settings, **keys)
