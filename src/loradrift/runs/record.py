"""The run record: ``run.json`` explains a run without the machine that made it."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import metadata
from typing import Any

from loradrift.config.keys import flatten

SCHEMA_VERSION = 5
"""The schema of the records that are written; those of schema 1 to 4 are read too."""

PACKAGES = (
    "loradrift", "torch", "transformers", "peft", "pytorch-lightning", "torchmetrics", "hydra-core",
    "numpy",
)  # fmt: skip

TASK_LABELS = {"sst2": "SST-2", "mrpc": "MRPC", "rte": "RTE", "squad_v2": "SQuAD v2"}
"""Labels of the tasks in records of schema 1, which do not hold them."""


def labelled_task(label: str, *, generated: bool, head: bool = True) -> str:
    """How a task is written whose rows are ``generated``, or not.

    One with a ``head`` is named after its data set, which generated rows only resemble.
    """
    if not generated:
        return label
    return f"{label}-like (generated)" if head else f"{label} (generated)"


NOT_FINITE = "the loss became"
"""How the error begins of a run whose loss was NaN or infinite."""


class Status(StrEnum):
    """How a run ended, or that it has not."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # by Ctrl-C, SIGTERM or a scheduler, with a checkpoint
    PRUNED = "pruned"  # a search's trial that is unlikely to be the best
    COLLAPSED = "collapsed"  # by callbacks.collapse.stop_on_collapse
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def is_finished(self) -> bool:
        """Whether the work has its result, so that the same command skips it.

        That it collapsed is the result of a run that was asked to end there.
        """
        return self in (Status.SUCCESS, Status.COLLAPSED)


@dataclass(kw_only=True)
class RunRecord:
    """Everything known about one run."""

    coordinates: dict[str, Any]
    """The cell's place; of a training ``study``, ``task``, ``method``, ``variant``, ``seed``."""

    config: dict[str, Any]
    """The resolved configuration, without what only watches (``config.OBSERVERS``)."""

    kind: str = "training"
    """Which kind of work the cell is."""

    phase: str = "production"
    """What the work is for: one of ``config.RUN_PHASES``."""

    overrides: list[str] = field(default_factory=list)
    """The command line, as typed."""

    status: Status = Status.RUNNING
    schema_version: int = SCHEMA_VERSION
    error: str | None = None
    """One line, if the run did not succeed."""

    git: dict[str, Any] = field(default_factory=dict)
    """``commit`` and ``dirty``; nulls outside a checkout."""

    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """sha256 of ``evaluation_rows``, ``train_rows``, ``tokenization``, ``probe``,
    ``base_model``, and the ``metric``'s name: what a fair comparison needs to be equal. Once
    finished also of ``neutral_text``, where forgetting was measured. Of a run that starts from
    another one, ``base_model`` is the first model of its chain, and ``chain`` the tasks before."""

    start: dict[str, Any] = field(default_factory=dict)
    """Of a run that starts from another one: ``chain``, the coordinates of the runs before it, the
    first first; ``run``, the folder of the last of them as typed; ``fingerprint``, sha256 of the
    weights that it left. Empty where the base model is the start, and in records of before."""

    task: dict[str, Any] = field(default_factory=dict)
    """``label``; ``higher_is_better``, the metric's direction; ``head``, whether the task puts one
    on the backbone. Empty in records of before."""

    parameters: dict[str, int] = field(default_factory=dict)
    """``trainable`` and ``total``."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows of ``train``, ``validation``, ``evaluation``; ``truncated`` counts those cut."""

    steps: int = 0
    """Optimizer steps done."""

    budget: dict[str, float] = field(default_factory=dict)
    """What these steps took, counted in all processes together: ``rows_seen``, ``tokens_seen``
    (without padding) and ``epochs``. Empty without training, and in records of before."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    """Final figures: ``evaluation/*`` on the reported split, ``validation/*`` of the best
    checkpoint, ``forgetting/loss_before`` and ``_after`` (nats per token on neutral text; of the
    base model and of the best checkpoint). A figure that is not finite is null."""

    performance: dict[str, float] = field(default_factory=dict)
    """``wall_time_s`` and ``cpu_time_s`` (CPU seconds of all threads of the process, of several
    processes the first; both without making the base model on first use), ``train_time_s``,
    ``tokens_per_s`` (real tokens over the time of the training steps alone),
    ``peak_memory_bytes`` (of the device; resident memory on a CPU)."""

    notices: list[str] = field(default_factory=list)
    """What a reader must not overlook, one line each; ``error: …`` says that a figure does not mean
    what it seems to."""

    exported: dict[str, str] = field(default_factory=dict)
    """sha256 of the files of ``model/`` that hold weights or say what they mean, as they were
    written, by name. Empty without training, and in records of before."""

    certificate: dict[str, Any] | None = None
    """That the adapter was really applied (``certify``): ``passed``, ``checks``, sha256 of
    ``files``, ``seconds``. Null without an adapter."""

    collapse: dict[str, Any] = field(default_factory=dict)
    """What the collapse detector found: ``evaluations``, ``alarms``, their number by cause in
    ``causes``; of the first one ``first_step``, ``cause`` and ``reasons``. Empty where no answers
    are generated."""

    started: str = ""
    ended: str | None = None
    resumed: int = 0
    """How many times the run was taken up again."""

    @property
    def task_label(self) -> str:
        """How figures, tables and pages write the task: never as if generated rows were others."""
        name, source = str(self.coordinates["task"]), self.config.get("data", {}).get("name")
        label = str(self.task.get("label", TASK_LABELS.get(name, name)))
        return labelled_task(label, generated=source == "embedded", head=self.has_head)

    @property
    def higher_is_better(self) -> bool:
        """The direction of the task's metric."""
        return bool(self.task.get("higher_is_better", self.config["task"]["metric"] != "loss"))

    @property
    def rounding(self) -> int:
        """``trainer.rounding``: 0 but for copies of a run that differ in rounding alone."""
        number: int = flatten(self.config).get("trainer.rounding", 0)
        return number

    @property
    def diverged(self) -> bool:
        """Whether the run failed at a loss that is NaN or infinite."""
        return self.status is Status.FAILED and str(self.error).startswith(NOT_FINITE)

    @property
    def started_from(self) -> str | None:
        """Digest of the weights that training began with, below its adapter if it has one."""
        digest = self.start.get("fingerprint") or self.fingerprints.get("base_model")
        return None if digest is None else str(digest)

    @property
    def has_head(self) -> bool:
        """Whether the task puts a head on the backbone."""
        return bool(self.task.get("head", self.coordinates["task"] != "pretrain"))

    @property
    def score(self) -> float | None:
        """The validation metric that chose the best checkpoint; what a sweeper maximises."""
        return self.metrics.get(f"validation/{self.config['task']['metric']}")


def new_record(
    identity: Mapping[str, Any],
    kind: str,
    phase: str,
    coordinates: Mapping[str, Any],
    overrides: Sequence[str],
) -> RunRecord:
    """The record of work that starts now."""
    return RunRecord(
        kind=kind,
        phase=phase,
        coordinates=dict(coordinates),
        config=dict(identity),
        overrides=list(overrides),
        git=git_state(),
        versions={"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES},
        started=now(),
    )


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def git_state() -> dict[str, Any]:
    """Commit of the source tree and whether it has changes; nulls outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", os.path.dirname(__file__), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
