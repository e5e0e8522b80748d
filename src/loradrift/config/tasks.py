"""What is learned: the settings that all tasks share, and the registry of tasks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from loradrift.config.errors import UserError, check, check_option, check_positive, one_of
from loradrift.config.methods import METHODS, BaselineConfig, MethodFacts, add_method, store_option
from loradrift.config.values import LARGEST_COUNT


@dataclass(kw_only=True)
class TaskConfig:
    """What is learned, and for how long."""

    name: str = MISSING
    max_length: int = 128
    """Tokens per row; longer rows are cut."""

    batch_size: int = 32
    """Rows per device and micro-batch."""

    epochs: float | None = None
    """Passes over the training rows; with ``max_steps`` too, whichever ends first."""

    max_steps: int | None = None
    """Optimizer steps."""

    metric: str = MISSING
    """Decides which checkpoint is best; measured on the validation rows."""

    min_train_accuracy: float | None = None
    """A sanity check: the run fails if accuracy on its own training rows ends below this."""

    def __post_init__(self) -> None:
        own = [name for name, facts in TASKS.items() if facts.config is type(self)]
        check(self.name in own, "task.name", one_of(own), self.name)
        check_option(self, "task.metric", *self.facts.metrics)
        check(self.max_length > 1, "task.max_length", "at least 2", self.max_length)
        check_positive(self, "task", "batch_size", "epochs", "max_steps")
        epochs, rule = self.epochs, "at most 2^53"
        check(epochs is None or epochs <= LARGEST_COUNT, "task.epochs", rule, epochs)
        if self.epochs is None and self.max_steps is None:
            raise UserError("task.epochs and task.max_steps are both null: training has no end")
        bound = self.min_train_accuracy
        check(bound is None or 0 < bound <= 1, "task.min_train_accuracy", "in (0, 1]", bound)

    @property
    def facts(self) -> "TaskFacts":
        """What is registered under the task's name."""
        return TASKS[self.name]

    @property
    def higher_is_better(self) -> bool:
        """The direction of ``metric``."""
        return self.facts.metrics[self.metric]

    @property
    def adapts_backbone(self) -> bool:
        """Whether a LoRA method adapts the backbone, as all tasks but one have it."""
        return True

    def check_run(self, config: Any) -> None:
        """Refuse what does not go together with the task in a run's whole configuration."""
        collapse = config.callbacks.collapse
        if collapse != type(collapse)() and not self.facts.generates:
            raise UserError(
                f"callbacks.collapse has no effect on task={self.name}, which generates no answers"
            )

    @property
    def for_record(self) -> dict[str, Any]:
        """What a run's record says of its task, for readers that know no tasks."""
        label, head = self.facts.label, self.facts.head
        return {"label": label, "higher_is_better": self.higher_is_better, "head": head}


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What configuration, records and studies know of a task; its code is in ``tasks/``."""

    name: str
    label: str
    """How figures and reports write it."""

    config: type[TaskConfig]
    metrics: Mapping[str, bool]
    """Name of each metric that may choose the checkpoint -> whether higher is better."""

    baselines: Mapping[str, Any] = field(default_factory=dict)
    """Methods that predict without training."""

    from_scratch: bool = False
    """Whether it trains random weights: no probe, no forgetting, no part in a study."""

    head: bool = True
    """Whether it puts a head on the backbone."""

    generates: bool = False
    """Whether its validations generate answers, which the task keeps in ``generations``."""

    corpus: str = "general"
    """What ``model=tiny`` must have been pretrained on."""

    overfit_steps: int | None = None
    """Optimizer steps of a study's sanity check; None for those of ``experiment=overfit``."""

    @property
    def follows(self) -> bool:
        """Whether its runs may start from another run, and a later one evaluate their heads."""
        return self.head and not self.generates and not self.from_scratch


PERCENTAGES = ("text_f1", "text_em")
"""Metrics from 0 to 100; others that are no loss are shares."""


def percent(metric: str) -> float:
    """What a value of a metric is multiplied with to be shown: shares are shown in percent."""
    return 1.0 if metric.endswith("loss") or metric in PERCENTAGES else 100.0


TASKS: dict[str, TaskFacts] = {}
"""Name -> task, in the order of registration (:func:`loradrift.tasks.register`)."""


def add_task(facts: TaskFacts) -> None:
    """Make a task known, so that ``task=<name>`` can be typed.

    Raises:
        UserError: If the name is taken, or the task's metric has no direction.
    """
    if facts.name in TASKS:
        raise UserError(f"task={facts.name} is registered twice")
    if not re.fullmatch(r"\w+", facts.name):
        raise UserError(f"task={facts.name} must be letters, digits and underscores")
    metric = facts.config.metric
    for name, higher in facts.metrics.items():
        if not isinstance(higher, bool):
            raise UserError(
                f"task={facts.name}: its metric {name} has no direction: TaskSpec.metrics must say "
                f"True where higher is better, else False, got {higher!r}"
            )
    if not facts.metrics or metric not in (MISSING, *facts.metrics):
        known = ", ".join(facts.metrics) or "nothing"
        raise UserError(
            f"task={facts.name}: its metric {metric} has no direction: TaskSpec.metrics must say "
            f"whether higher is better, and holds {known}"
        )
    TASKS[facts.name] = facts
    sizes = {key: f"${{scale.{key}}}" for key in ("batch_size", "epochs", "max_steps")}
    store_option("task", facts.name, facts.config, **sizes)
    for name in facts.baselines:
        if name not in METHODS:
            add_method(MethodFacts(name=name, config=BaselineConfig))


CORPORA = {"general": 900, "persona": 900, "reconstruction": 1600}
"""Texts of ``task=pretrain`` -> optimizer steps, if none are given. The others hold the first, and
a world each: of answers with traits, and of short contexts with questions, where it takes longer
until the model has learned to look an answer up."""


def pretraining_steps(task: str, corpus: str) -> int:
    """``${pretraining_steps:…}`` in ``conf/``: the steps of the corpus that a task needs.

    A corpus that is typed is for tasks that need no other than the general one.
    """
    needed = TASKS[task].corpus if task in TASKS else "general"
    return CORPORA.get(corpus if needed == "general" else needed, CORPORA["general"])


@dataclass(kw_only=True)
class PretrainConfig(TaskConfig):
    """Next-token prediction on plain text, in rows of at most ``max_length`` tokens."""

    name: str = "pretrain"
    max_length: int = 128
    batch_size: int = 32
    max_steps: int | None = 900
    metric: str = "loss"
    corpus: str = "general"
    """``general``, or the name of a task that needs ``model=tiny`` to know more (``persona``,
    ``reconstruction``), which sets it by itself. Another task on that base is given it by
    ``model.pretraining.task.corpus``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_no_accuracy(self)
        check_option(self, "task.corpus", *CORPORA)


def check_no_accuracy(task: TaskConfig) -> None:
    """Refuse a bound on the accuracy of a task that has none."""
    bound, rule = task.min_train_accuracy, f"null for task={task.name}, which has no accuracy"
    check(bound is None, "task.min_train_accuracy", rule, bound)
