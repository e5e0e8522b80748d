"""The cells of each phase, and which of them are finished."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import TASKS, Config, StudyConfig, TrainedConfig, UserError
from loradrift.config.best_values import best_file
from loradrift.config.errors import check
from loradrift.config.studies import phase_folder
from loradrift.config.tasks import percent
from loradrift.runs import RunRecord, finished_run, read_record
from loradrift.study.hydra_program import Program
from loradrift.sweeping.space import quoted

SANITY_KEYS = ("best", "data.train_rows", "task.max_steps", "task.epochs")
"""What is typed for the production, and not for a sanity check, which has rows and steps of its
own."""

CELL_PHASES = ("sanity", "baselines", "production", "rounding")
"""Phases that are made of cells."""

SEARCHED = ("production", "rounding")
"""Those of them whose cells train with what a search has found."""


DUMPS = "callbacks.activation_dump.every_n_steps"

BASELINE_WORK = 20.0
"""A cell without training takes as long as so many optimizer steps, about."""


class StudyCell(NamedTuple):
    """A training or a baseline of a study."""

    overrides: tuple[str, ...]
    config: Config
    record: RunRecord | None
    """The record of a finished run, else None."""

    label: tuple[str, str] = ("", "")
    """What a study calls it and how, where task and method do not say."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.config.cell

    @property
    def trains(self) -> bool:
        """Whether it is no baseline."""
        return trains(self.config)

    @property
    def listed(self) -> tuple[str, str]:
        """Task and method."""
        return self.config.task.name, self.config.method.name

    @property
    def place(self) -> str:
        """The cell in few words."""
        config = self.config
        draw = f" rounding {config.trainer.rounding}" if config.trainer.rounding else ""
        return f"{config.task.name} {config.method.name} seed {config.seed}{draw}"

    @property
    def work(self) -> float:
        """Its optimizer steps."""
        return float(self.config.task.max_steps or 1000) if self.trains else BASELINE_WORK

    def work_so_far(self) -> float:
        """Its optimizer steps so far."""
        return steps(self.folder, self.config.task.max_steps)

    def state(self) -> str:
        """How many steps it has done, of how many."""
        most = self.config.task.max_steps or "many"
        return f"step {self.work_so_far():.0f} of {most}" if self.trains else ""

    def is_result(self) -> bool:
        """Never: what failed is to be done again."""
        return False

    def outcome(self) -> str:
        """What it reached."""
        record, metric = read_record(self.folder), self.config.task.metric
        metrics = {} if record is None else record.metrics
        for name, label in (
            ("train/accuracy", "accuracy on its own rows"),  # what a sanity check is about
            (f"evaluation/{metric}", metric),
            (f"validation/{metric}", metric),
        ):
            if (value := metrics.get(name)) is not None:
                shown = f"{value:.2f}" if metric == "loss" else f"{percent(metric) * value:.1f} %"
                return f"{label} {shown}"
        return "done"


def trains(config: Config) -> bool:
    """Whether a run trains; a baseline does not."""
    return isinstance(config.method, TrainedConfig)


def plan_cells(
    phase: str, program: Program, study: StudyConfig, typed: Sequence[str]
) -> list[StudyCell]:
    """The cells of one of :data:`CELL_PHASES`; ``typed`` is what they share."""
    cells: list[StudyCell] = []
    seeds = study.seeds if phase == "production" else study.seeds[:1]
    draws = [[f"trainer.rounding={n}"] for n in range(1, study.roundings + 1)]
    for task in study.tasks:
        for method in TASKS[task].baselines if phase == "baselines" else study.methods:
            overrides = [f"task={task}", f"method={method}"]
            if phase == "sanity":
                # a cell of the production with fewer rows, so that its memory is about theirs
                folder = quoted(phase_folder(study.name, phase))
                own = ["experiment=overfit", f"study.name={folder}"]
                few = TASKS[task].overfit_steps
                steps = [] if few is None else [f"task.max_steps={few}"]
                overrides = [*steps, *without(typed, *SANITY_KEYS), *overrides, *own]
            elif phase == "baselines":
                overrides = [*without(typed, "best", "method"), *overrides]
            else:
                found = found_values(program.settings, task, method).is_file()
                best = ["best=true"] if found and not is_typed("best", typed) else []
                overrides = [*best, *typed, *overrides]
            for draw in draws if phase == "rounding" else [[]]:
                cells += seed_cells(program, [*overrides, *draw], seeds)
    return cells


def found_values(config: Config, task: str, method: str) -> Path:
    """Where a search of the study, this command's or an earlier one, leaves what it found.

    Until then the scale's defaults stand in its place.
    """
    return best_file(Path(config.results), config.study.name, task, method)


def seed_cells(
    program: Program, overrides: Sequence[str], seeds: Sequence[int]
) -> Iterator[StudyCell]:
    """One cell for each seed; they are composed once and differ in the seed alone."""
    typed = [*overrides, f"seed={seeds[0]}"]
    cfg = program.compose(typed)
    first = resolve_config(cfg, typed)
    follows = "${seed}" in OmegaConf.to_yaml(cfg)  # a value that is made of the seed
    for seed in seeds:
        typed = [*overrides, f"seed={seed}"]
        again = follows and seed != seeds[0]
        config = resolve_config(program.compose(typed), typed) if again else first
        config = replace(config, seed=seed)
        try:
            record = finished_run(config)
        except UserError:
            record = None  # damaged; the cell's own job says so
        yield StudyCell(tuple(typed), config, record)


def check_dumps(settings: Config, study: str) -> None:
    """Refuse a study without dumps whose report is about drift.

    Raises:
        UserError: If activations are not dumped.
    """
    enabled = settings.callbacks.activation_dump.enabled
    rule = f"true with study={study}, whose report measures drift"
    check(enabled, "callbacks.activation_dump.enabled", rule, enabled)


def with_dumps(typed: Sequence[str], settings: Config) -> list[str]:
    """Overrides with a dump at each validation, so that the evaluated checkpoint has one."""
    interval = settings.trainer.validate_every
    if is_typed(DUMPS, typed) or interval == settings.callbacks.activation_dump.every_n_steps:
        return list(typed)
    return [*typed, f"{DUMPS}={interval}"]


def without(typed: Sequence[str], *keys: str) -> list[str]:
    """Overrides but those of ``keys`` and what is below them."""
    below = tuple(f"{key}." for key in keys)
    return [each for each in typed if not f"{key_of(each)}.".startswith(below)]


def is_typed(key: str, typed: Sequence[str]) -> bool:
    """Whether an override is of ``key``."""
    return any(key_of(each) == key for each in typed)


def key_of(override: str) -> str:
    """The key of ``key=value``, as in the configuration."""
    return override.partition("=")[0].lstrip("+~")


def steps(folder: Path, most: int | None) -> int:
    """Steps by the last row of ``metrics.csv``, which is written with each checkpoint.

    A row of the loss is logged before its step is done, the last row after all of them.
    """
    with suppress(OSError, ValueError, IndexError):
        last = int((folder / "metrics.csv").read_text().splitlines()[-1].partition(",")[0])
        return last + 1 if most is None else min(last + 1, most)
    return 0
