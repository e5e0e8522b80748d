"""``study=persona``: directions of traits, steering along them in every arm, what they foretell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from loradrift.config import StudyConfig, UserError, check
from loradrift.config.errors import check_positive
from loradrift.config.studies import require_some
from loradrift.config.values import check_seed
from loradrift.steering.config import ARMS
from loradrift.steering.door import COMPOSED_ARMS

PERSONA_PHASES = (
    "sides", "directions", "finetunings", "steering", "behaviour", "cost", "judging", "report",
)  # fmt: skip
"""The study's phases, in the order in which they run."""

STEERED_ARMS = tuple(arm for arm in ARMS if arm != "none")
"""Arms that have doses."""


@dataclass(kw_only=True)
class PersonaStudyConfig(StudyConfig):
    """Adapters of both sides of each trait, and everything that is asked of their difference.

    The first of ``methods`` makes the directions; fine-tunings are made with all of them.
    """

    all_phases: ClassVar[tuple[str, ...]] = PERSONA_PHASES
    axes: ClassVar[Mapping[str, str]] = {
        "task": "tasks", "task.trait": "traits", "method": "methods", "seed": "seeds",
    }  # fmt: skip
    own_keys: ClassVar[Mapping[str, str]] = {
        "task.side": "",
        "task.share": "study.shares=[…]",
        "task.direction": "",
        "task.direction_coefficient": "study.prevented=[…]",
        "callbacks.persona_monitor.directions": "",
    }
    idle_keys: ClassVar[tuple[str, ...]] = ("tasks", "roundings", "trials")

    phases: list[str] = field(default_factory=lambda: list(PERSONA_PHASES))
    tasks: list[str] = field(default_factory=lambda: ["persona"])

    traits: list[str] = field(default_factory=list)
    """Traits with judged answers, of which each has a direction."""

    doses: dict[str, list[float]] = field(default_factory=dict)
    """Arm of ``benchmark=steering`` -> its coefficients, without 0: that is ``arm=none``. An arm
    with an empty list is left out."""

    steered_seeds: int = 1
    """Along how many of each trait's directions is steered, from the first of ``seeds`` on."""

    composed: dict[str, float] = field(default_factory=dict)
    """Arm (``weight`` or ``activation``, with some ``doses``) -> the dose at which each trait is
    steered together with the next one, and alone."""

    shares: list[float] = field(default_factory=list)
    """Shares of rows with the trait in fine-tunings whose behaviour is foretold."""

    share_seeds: list[int] = field(default_factory=list)
    """Their seeds; other ones than ``seeds``, since no run is projected on its own seed's
    direction."""

    prevented: list[float] = field(default_factory=list)
    """Coefficients by which the direction is in the weights while a trait is trained; the
    direction is the first seed's, and the run that of the last seed."""

    everywhere: bool = True
    """Ask mixtures about all traits of the study; else about their own, as all other runs."""

    answers: int | None = None
    """``answers`` of ``analysis=persona_direction``, a side; null is its own number."""

    questions: int | None = None
    """``steering.questions`` of every cell; null is what ``scale`` says."""

    samples: int | None = None
    """``steering.samples``, likewise; more than one needs ``study.temperature``."""

    temperature: float | None = None
    """``steering.temperature``, likewise."""

    max_tokens: int | None = None
    """``steering.max_tokens``, likewise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        key = "study.traits"
        check(len(set(self.traits)) == len(self.traits), key, "different", ", ".join(self.traits))
        check(self.tasks == ["persona"], "study.tasks", "[persona]", self.tasks)
        require_some("study.doses", list(self.doses), STEERED_ARMS)
        for arm, doses in self.doses.items():
            key = f"study.doses.{arm}"
            check(len(set(doses)) == len(doses), key, "different", doses)
            for dose in doses:
                check(isfinite(dose) and dose != 0, key, "finite numbers other than 0", dose)
        require_some("study.composed", list(self.composed), COMPOSED_ARMS)
        for arm, dose in self.composed.items():
            rule = "a finite number other than 0"
            check(isfinite(dose) and dose != 0, f"study.composed.{arm}", rule, dose)
        for share in self.shares:
            check(0 <= share <= 1, "study.shares", "from 0 to 1", share)
        for seed in self.share_seeds:
            check_seed("study.share_seeds", seed)
        if both := sorted(set(self.seeds) & set(self.share_seeds)):
            raise UserError(
                f"study.share_seeds must be other ones than study.seeds, got {both[0]} in both: no "
                "run is projected on a direction of its own seed"
            )
        for coefficient in self.prevented:
            rule = "finite numbers other than 0"
            check(isfinite(coefficient) and coefficient != 0, "study.prevented", rule, coefficient)
        check_positive(
            self, "study", "steered_seeds", "answers", "questions", "samples", "max_tokens"
        )

    @property
    def own_method(self) -> str:
        """The method whose adapters make the directions."""
        return self.methods[0]

    @property
    def direction_seeds(self) -> list[int]:
        """Seeds of the directions that are steered along."""
        return self.seeds[: self.steered_seeds]
