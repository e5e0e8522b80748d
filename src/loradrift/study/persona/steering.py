"""The cells of ``benchmark=steering`` and ``benchmark=steering_cost`` that a persona study makes.

Each is the cell of the command that its overrides are, typed at ``benchmark.py``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from loradrift.adapters.directions import FACTS
from loradrift.config import UserError, load_benchmark
from loradrift.config.benchmarks import BENCHMARK_COORDINATES, BenchmarkConfig
from loradrift.config.keys import changes, defaults
from loradrift.config.variants import variant
from loradrift.files import read_json
from loradrift.runs import RunRecord, Status, read_record
from loradrift.steering.config import SteeringBenchmarkConfig
from loradrift.steering.directions import direction_folder
from loradrift.steering.door import PLAIN_ARMS
from loradrift.study.hydra_program import Program
from loradrift.study.persona import PersonaStudyConfig
from loradrift.study.persona.cells import Dose, SteeringCell, as_typed, shared
from loradrift.study.persona.training import PersonaCell

ANSWERING = ("questions", "samples", "temperature", "max_tokens")
"""Keys below ``study`` that are handed on to every cell, where they are given."""

QUIET = {"neutral_rows": 0, "task": None}
"""Nothing is measured but answers."""


class SteeringPlan:
    """Makes the cells; the configuration that they share is composed once.

    ``program`` is the one of ``benchmark.py``.
    """

    def __init__(self, program: Program, study: PersonaStudyConfig, typed: Sequence[str]) -> None:
        self.program, self.study = program, study
        given = {key: getattr(study, key) for key in ANSWERING}
        answering = [f"steering.{key}={value}" for key, value in given.items() if value is not None]
        self._typed = ["benchmark=steering", *shared(typed), *answering]
        self._cost = ["benchmark=steering_cost", *shared(typed)]
        first = study.traits[0]
        base = self._compose([*self._typed, f"trait={first}", "arm=none"])
        assert isinstance(base, SteeringBenchmarkConfig)
        self._base = base

    def steering(self) -> list[SteeringCell]:
        """Every arm of every trait at every dose, and traits that are steered together."""
        study, doses = self.study, list[Dose]()
        for trait in study.traits:
            doses.append(Dose(trait, "none"))
            for arm, coefficients in study.doses.items():
                for keys in self._directions(arm):
                    doses += [Dose(trait, arm, each, keys) for each in coefficients]
        doses += [each for each in self._together() if each not in doses]
        return [self._cell(each) for each in doses]

    def behaviour(self, trained: Sequence[PersonaCell]) -> list[SteeringCell]:
        """What each run answers about its own trait, and mixtures about the others too."""
        study = self.study
        return [
            self._cell(Dose(trait, "none", steering={"run": str(run.folder), **QUIET}), run)
            for trait in study.traits
            for run in trained
            if trait == run.trait or (study.everywhere and run.is_mixed)
        ]

    def cost(self) -> list[SteeringCell]:
        """Time and memory, along the direction of the first trait."""
        trait = self.study.traits[0]
        [keys, *_] = self._directions("weight")
        own = [f"steering.{key}={as_typed(value)}" for key, value in keys.items()]
        overrides = [*self._cost, f"trait={trait}", *own]
        config = self._compose(overrides)
        record = self._finished(config, ("trait", "steering", "batch_sizes", "rounds", "seed"))
        place = f"cost of a token, {trait}"
        return [SteeringCell(tuple(overrides), config, record, place, trait, "cost", 200.0)]

    def _together(self) -> Iterator[Dose]:
        """Two traits at once, and each of them alone on the questions of the first."""
        composed = {arm: c for arm, c in self.study.composed.items() if self.study.doses.get(arm)}
        for trait, other in pairwise(self.study.traits):
            for arm, dose in composed.items():
                for keys in self._directions(arm):
                    also = {**keys, "also": {other: dose}}
                    yield Dose(trait, arm, dose, keys)
                    yield Dose(trait, arm, 0.0, also)
                    yield Dose(trait, arm, dose, also)

    def _directions(self, arm: str) -> list[dict[str, Any]]:
        """The keys of each direction that an arm is steered along; ``{}`` if it needs none."""
        if arm in PLAIN_ARMS:
            return [{}]
        seeds = self.study.direction_seeds
        return [{"study": self.study.name, "direction_seed": seed} for seed in seeds]

    def _compose(self, overrides: Sequence[str]) -> BenchmarkConfig:
        return load_benchmark(self.program.compose(overrides), overrides)

    def _cell(self, dose: Dose, run: PersonaCell | None = None) -> SteeringCell:
        overrides = [*self._typed, *dose.overrides]
        config = replace(
            self._base,
            trait=dose.trait,
            arm=dose.arm,
            coefficient=float(dose.coefficient),
            steering=replace(self._base.steering, **dose.steering),
            variant=variant(overrides, BENCHMARK_COORDINATES),
        )
        record = self._finished(config, ("trait", "arm", "coefficient", "steering", "seed"))
        if run is not None and record is not None and not _is_of(record, run):
            record = None
        also = "".join(f" with {trait} {each:g}" for trait, each in config.steering.also.items())
        amount = "" if dose.arm == "none" else f" {dose.coefficient:g}"
        what = f"{dose.arm}{amount}{also}" if run is None else f"asked of {run.place}"
        kind = dose.arm if run is None else run.listed[1]
        place = f"{dose.trait} {what}"
        return SteeringCell(tuple(overrides), config, record, place, dose.trait, kind)

    def _finished(self, config: BenchmarkConfig, keys: Sequence[str]) -> RunRecord | None:
        """The record of a cell that is finished, as configured, along the direction of now.

        What else a cell was made of its own job looks at: it refuses what it would make otherwise.
        """
        try:
            record = read_record(config.cell)
        except UserError:
            return None  # damaged; the cell's own job says so
        if record is None or record.status is not Status.SUCCESS:
            return None
        now = _plain({key: asdict(config)[key] for key in ("model", "data", *keys)})
        before = {key: record.config.get(key, {}) for key in now}
        if changes(before, now, _plain(defaults(config))):
            return None
        found: RunRecord = record
        return found if self._is_current(config, record) else None

    def _is_current(self, config: Any, record: RunRecord) -> bool:
        """Whether the direction has not been made anew since."""
        if getattr(config, "arm", "weight") in PLAIN_ARMS:
            return True
        seed = config.steering.direction_seed
        folder = direction_folder(Path(config.results), config.steering.study, config.trait, seed)
        path = folder / FACTS
        return path.is_file() and bool(read_json(path)["certificate"] == record.certificate)


def _is_of(record: RunRecord, run: PersonaCell) -> bool:
    """Whether a cell was made of a run as it is now."""
    trained = run.record
    if trained is None:
        return False
    files = (trained.certificate or {}).get("files", {})
    used = record.config.get("standing", {})
    known = [name for name in used if name in files]
    return all(used[name] == files[name] for name in known) and bool(
        known or (trained.ended or "") <= (record.started or "")
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a record holds them."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
