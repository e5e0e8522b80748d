"""A whole study: which cells, in which phases; and one trial of a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from loradrift.config.errors import check, check_option, check_positive, excerpt
from loradrift.config.methods import METHODS, FromScratchConfig, TrainedConfig
from loradrift.config.tasks import TASKS
from loradrift.config.values import check_seed, path_field

PRUNERS = ("median", "hyperband", "successive_halving", "none")

PHASES = (
    "sanity", "baselines", "base", "search", "production", "rounding", "analysis", "report",
)  # fmt: skip
"""A study's phases, in the order in which they run."""

LONGEST_NAME = 200
"""A file's name has 255 bytes at most, and some files' names are a study's and more."""

RUN_PHASES = PHASES[:6]
"""Phases that are made of runs."""

APART = ("sanity", "search")
"""Phases whose runs are no results, and have a folder of their own."""


@dataclass(kw_only=True)
class StudyConfig:
    """A grid of cells; its name is their folder. The other keys are for ``study=… -m``.

    A study with other phases extends it.
    """

    all_phases: ClassVar[tuple[str, ...]] = PHASES
    """Its phases, in the order in which they run."""

    axes: ClassVar[Mapping[str, str]] = {"task": "tasks", "method": "methods", "seed": "seeds"}
    """Keys of a run whose values the study varies, and what it calls them."""

    own_keys: ClassVar[Mapping[str, str]] = {}
    """Keys of a run that the study sets itself -> what is typed in their place, or ""."""

    idle_keys: ClassVar[tuple[str, ...]] = ()
    """Of the keys below, those without effect on it."""

    name: str = "main"
    phases: list[str] = field(default_factory=lambda: list(PHASES))
    """Which to run; each skips what is done. They run in their own order, however listed."""

    tasks: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    """Methods that train; the baselines are the phase's own."""

    seeds: list[int] = field(default_factory=list)
    """Seeds of the production runs; the scale gives as many as its runs are cheap."""

    roundings: int = 2
    """How many times the first seed's runs are made again with ``trainer.rounding=1``, 2, …"""

    trials: int = 10
    """Trials of each search, in total."""

    dry_run: bool = False
    """List the cells, what is done and the time left; run nothing."""

    def __post_init__(self) -> None:
        plain = self.name == self.name.strip() != "" and self.name.isprintable()
        plain &= not set(self.name) & set("/\\") and self.name[:1] not in (".", "~")
        rule = "the name of one folder, which begins with neither . nor ~"
        check(plain, "study.name", rule, repr(self.name))
        size, rule = len(self.name.encode()), f"at most {LONGEST_NAME} bytes long"
        check(size <= LONGEST_NAME, "study.name", rule, f"{size} ({excerpt(self.name)})")
        require_some("study.phases", self.phases, self.all_phases)
        tasks = [name for name, task in TASKS.items() if not task.from_scratch]
        configs = {name: method.config for name, method in METHODS.items()}
        trained = [name for name, each in configs.items() if issubclass(each, TrainedConfig)]
        methods = [name for name in trained if not issubclass(configs[name], FromScratchConfig)]
        require_some("study.tasks", self.tasks, tasks)
        require_some("study.methods", self.methods, methods)
        for seed in self.seeds:
            check_seed("study.seeds", seed)
        check(len(set(self.seeds)) == len(self.seeds), "study.seeds", "different", self.seeds)
        check_positive(self, "study", "trials")
        check(self.roundings >= 0, "study.roundings", "at least 0", self.roundings)


@dataclass(kw_only=True)
class SearchConfig:
    """Which trial of which Optuna study a run is, and what may end it early; else nulls."""

    storage: str | None = path_field(None)
    """URL of the Optuna storage."""

    study: str | None = None
    """Name of the Optuna study in it."""

    trial: int | None = None
    """The trial's number in the study."""

    pruner: str = "none"
    """``median`` (worse than half of the trials at the same step), ``hyperband``,
    ``successive_halving`` or ``none``."""

    full_trials: int = 3
    """The median pruner lets so many trials come to their end before it prunes any."""

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.storage, self.study, self.trial)]
        rule = "given together with search.study and search.trial"
        check(all(given) or not any(given), "search.storage", rule, self.storage)
        check_option(self, "search.pruner", *PRUNERS)
        check_positive(self, "search", "full_trials")


def phase_folder(study: str, phase: str) -> str:
    """Name of the folder below ``runs`` that holds the runs of a study's phase."""
    return f"{study}.{phase}" if phase in APART else study


def require_some(key: str, values: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a value that is not known, and one that is there twice."""
    for value in values:
        check(value in known, key, "some of " + ", ".join(known), value)
    check(len(set(values)) == len(values), key, "different", ", ".join(values))
