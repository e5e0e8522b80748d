"""What a cell is to the runner of a study and to its progress, whatever it computes."""

from pathlib import Path
from typing import Protocol

from loradrift.runs import RunRecord


class PlannedCell(Protocol):
    """A cell of a study, as a study plans it."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What its job is given."""

    @property
    def record(self) -> RunRecord | None:
        """The record of a finished cell, else None."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def listed(self) -> tuple[str, str]:
        """Its line in the listing: a task or trait, and how."""

    @property
    def place(self) -> str:
        """The cell in few words."""

    @property
    def work(self) -> float:
        """How much there is to do, in optimizer steps or what takes as long."""

    def work_so_far(self) -> float:
        """How much of it is done, while it is under way."""

    def state(self) -> str:
        """How far it is, in words, while it is under way."""

    def is_result(self) -> bool:
        """Whether a job that failed has come to a result all the same."""

    def outcome(self) -> str:
        """What it came to, in few words."""
