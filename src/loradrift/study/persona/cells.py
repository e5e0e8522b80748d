"""A steering cell as a study plans it, and what is typed for it at ``benchmark.py``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import loradrift.judges
import loradrift.steering  # noqa: F401  both register what benchmark.py measures
from loradrift.cli.benchmark_job import run_benchmark
from loradrift.config.benchmarks import BenchmarkConfig
from loradrift.runs import RunRecord, read_record
from loradrift.study.cells import BASELINE_WORK, key_of
from loradrift.sweeping.space import quoted

SHARED_GROUPS = ("model", "runs", "results", "cache", "force")
"""First parts of keys that mean the same at both front doors."""

SHARED_KEYS = (
    "scale", "data", "data.name", "data.root", "data.seed",
    "trainer", "trainer.name", "trainer.accelerator", "trainer.threads",
)  # fmt: skip
"""The others that mean the same."""


class SteeringCell(NamedTuple):
    """A cell of a benchmark, as a study plans it."""

    overrides: tuple[str, ...]
    config: BenchmarkConfig
    record: RunRecord | None
    place: str
    trait: str
    kind: str
    """The arm, or what is measured instead."""

    work: float = BASELINE_WORK

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.config.cell

    @property
    def listed(self) -> tuple[str, str]:
        """Its trait and arm."""
        return self.trait, self.kind

    def work_so_far(self) -> float:
        """Unknown."""
        return 0.0

    def state(self) -> str:
        """It has begun."""
        return "under way"

    def is_result(self) -> bool:
        """Never: what failed is to be done again."""
        return False

    def outcome(self) -> str:
        """How much of the answers is over, if they are."""
        record = read_record(self.folder)
        tokens = None if record is None else record.metrics.get("mean_tokens")
        return "done" if tokens is None else f"{tokens:.0f} tokens an answer"


class Dose(NamedTuple):
    """What is typed for a cell beside what all cells share."""

    trait: str
    arm: str
    coefficient: float = 0.0
    steering: Mapping[str, Any] = {}
    """Keys below ``steering``."""

    @property
    def overrides(self) -> list[str]:
        """As typed."""
        coefficient = [] if self.arm == "none" else [f"coefficient={self.coefficient:g}"]
        return [
            f"trait={self.trait}",
            f"arm={self.arm}",
            *coefficient,
            *(f"steering.{key}={as_typed(value)}" for key, value in self.steering.items()),
        ]


def shared(typed: Sequence[str]) -> list[str]:
    """Of what was typed for a study, what its steering cells share with its trainings."""
    return [
        each
        for each in typed
        if key_of(each).partition(".")[0] in SHARED_GROUPS or key_of(each) in SHARED_KEYS
    ]


def run_steering(cfg: DictConfig) -> None:
    """One job: what ``benchmark.py`` does."""
    run_benchmark(cfg, HydraConfig.get().overrides.task)


def as_typed(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{each:g}' for key, each in value.items())}}}"
    if value is None:
        return "null"
    return quoted(value) if isinstance(value, str) and not value.isidentifier() else str(value)
