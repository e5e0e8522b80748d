"""The trainings of a persona study: both sides of each trait, and what is to be foretold."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from loradrift.steering.directions import PLACE, direction_folder
from loradrift.study.cells import StudyCell, seed_cells, without
from loradrift.study.hydra_program import Program
from loradrift.study.persona import PersonaStudyConfig
from loradrift.sweeping.space import quoted

SIDES = ("pos", "neg")


class PersonaCell(StudyCell):
    """A training of a persona study."""

    @property
    def place(self) -> str:
        """``cheerful pos, rslora seed 1``."""
        config = self.config
        task = vars(config.task)
        what = f"{task['trait']} {task['side']}"
        if task["share"] is not None:
            what += f" {task['share']:g}"
        merged = ", direction merged" * bool(task["direction"])
        return f"{what}, {config.method.name} seed {config.seed}{merged}"

    @property
    def trait(self) -> str:
        """The trait that it is trained on."""
        return str(vars(self.config.task)["trait"])

    @property
    def is_mixed(self) -> bool:
        """Whether its behaviour is to be foretold."""
        return bool(vars(self.config.task)["side"] == "mixed")

    @property
    def listed(self) -> tuple[str, str]:
        """Its trait and method."""
        merged = bool(vars(self.config.task)["direction"])
        return self.trait, f"{self.config.method.name}{', direction merged' * merged}"


def side_cells(
    program: Program, study: PersonaStudyConfig, typed: Sequence[str]
) -> list[PersonaCell]:
    """Both sides of each trait, with each seed: the adapters that directions are made of."""
    own = [*typed, f"method={study.own_method}"]
    return [
        cell
        for trait in study.traits
        for side in SIDES
        for cell in _cells(program, own, trait, side, study.seeds)
    ]


def finetuned_cells(
    program: Program, study: PersonaStudyConfig, typed: Sequence[str]
) -> list[PersonaCell]:
    """Mixtures of both sides, by every method, and trainings with a direction in the weights.

    While a mixture is trained, how far it has moved along the directions is logged.
    """
    results = Path(program.settings.results)
    watched = quoted(str(results / PLACE / study.name))
    cells: list[PersonaCell] = []
    for trait in study.traits:
        for method in study.methods:
            own = typed if method == study.own_method else without(typed, "method")
            monitor = f"callbacks.persona_monitor.directions={watched}"
            for share in study.shares:
                keys = [*own, f"method={method}", f"task.share={share:g}", monitor]
                cells += _cells(program, keys, trait, "mixed", study.share_seeds)
        folder = direction_folder(results, study.name, trait, study.seeds[0])
        for coefficient in study.prevented:
            keys = [
                *typed,
                f"method={study.own_method}",
                f"task.direction={quoted(str(folder))}",
                f"task.direction_coefficient={coefficient:g}",
            ]
            cells += _cells(program, keys, trait, "pos", study.seeds[-1:])
    return cells


def _cells(
    program: Program, typed: Sequence[str], trait: str, side: str, seeds: Sequence[int]
) -> Iterator[PersonaCell]:
    own = ["task=persona", f"task.trait={trait}", f"task.side={side}"]
    for cell in seed_cells(program, [*typed, *own], seeds):
        yield PersonaCell(*cell)
