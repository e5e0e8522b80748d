"""A task is one entry: everything about it in one place, and nobody else asks which task it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from loradrift.config import Config, DataConfig, OptimConfig, TaskConfig, TaskFacts

if TYPE_CHECKING:  # a spec is registered before the command line is read: nothing heavy by then
    from loradrift.data import Rows, Splits
    from loradrift.models import Backbone
    from loradrift.tasks.base import Task
    from loradrift.tasks.prepared import PreparedData


class Encoding(NamedTuple):
    """How a task's rows become tokens."""

    encode: Callable[[list[Any]], Rows]
    fingerprint: str
    """Digest of everything that decides which ids a row gets."""


class Outcome(NamedTuple):
    """What a baseline says of one split."""

    metrics: Mapping[str, float]
    predictions: Sequence[dict[str, Any]]
    """One for each row, as in ``predictions.jsonl``."""

    files: Mapping[str, Any] = {}
    """Name of a further file of the run -> its JSON."""


@dataclass(frozen=True)
class Baseline:
    """A way to predict without training."""

    predict: Callable[[Config, PreparedData, Sequence[Any], Backbone | None], Outcome]
    """Takes the run, its data, a split's rows and the untrained backbone."""

    needs_model: bool = False
    """Whether it asks the untrained backbone."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec(TaskFacts):
    """Everything about a task; the functions import what is heavy themselves."""

    load: Callable[[Any, DataConfig, Path], Splits[Any]]
    """Settings (a ``config``), data source and cache -> rows, from the official files."""

    encode: Callable[[Any, Any, Path], Encoding]
    """Settings, tokenizer and cache -> how rows become tokens."""

    build: Callable[[Backbone, Any, OptimConfig, PreparedData, int], Task]
    """Backbone, settings, optimizer, data and the seed of new weights -> the task."""

    baselines: Mapping[str, Baseline] = field(default_factory=dict)


def spec_of(task: TaskConfig) -> TaskSpec:
    """The entry of a configured task."""
    return cast(TaskSpec, task.facts)
