"""What a reader sees of a study while it runs: a table on a terminal, a line per cell elsewhere."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from loradrift.cli.job_summary import note_path
from loradrift.config import UserError
from loradrift.runs import RunRecord, read_record
from loradrift.study.cells import steps
from loradrift.study.planned import PlannedCell

POLL_S = 0.5
"""Seconds between two looks at the cells' folders."""

LINE_S = 20.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Follows a study's cells in their folders, whichever process or machine runs them.

    The base model is made in ``cache`` on first use.
    """

    def __init__(self, cells: Mapping[str, Sequence[PlannedCell]], cache: Path) -> None:
        self._total = {phase: len(each) for phase, each in cells.items()}
        left = {phase: [c for c in each if not c.record] for phase, each in cells.items()}
        self._done = {phase: self._total[phase] - len(each) for phase, each in left.items()}
        self._work_left = sum(cell.work for each in left.values() for cell in each)
        self._work_done = 0.0
        self._seconds = 0.0
        self._folder, self._cache = Path(), cache
        self._running: dict[int, PlannedCell] = {}
        self._phase = self._last = self._line = ""
        self._news = False
        self._began = self._looked = self._said = 0.0
        self._console, self._errors = Console(file=sys.stdout), sys.stderr  # not a log's

    @property
    def number(self) -> int:
        """Cells of all phases."""
        return sum(self._total.values())

    @property
    def done(self) -> int:
        """The cells that are finished."""
        return sum(self._done.values())

    @contextmanager
    def follow(self, phase: str, jobs: Mapping[int, PlannedCell], folder: Path) -> Iterator[None]:
        """Show how far the jobs are while the block runs them.

        They leave their notes in ``folder``, by their numbers.
        """
        self._phase, self._running, self._folder = phase, dict(jobs), folder
        self._began = self._looked = time.time()
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(POLL_S):
                self.look()

        thread = threading.Thread(target=watch, name="progress", daemon=True)
        options: dict[str, Any] = {"refresh_per_second": 2, "transient": True}
        live = Live(get_renderable=self.table, console=self._console, **options)
        with live if self._console.is_terminal else nullcontext():
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()
                self.look()

    def look(self) -> None:
        """Take up the jobs that have ended since the last look, and say what is to be said."""
        looked, base = time.time(), self.base_line()
        if not base:  # what the base model takes says nothing of the cells
            self._seconds += looked - self._looked
        self._looked = looked
        notes = {number: note_path(self._folder, number) for number in self._running}
        ended = {number: path for number, path in notes.items() if path.is_file()}
        self._news |= bool(ended)
        for number, path in ended.items():
            cell = self._running.pop(number)
            note = json.loads(path.read_text(encoding="utf-8"))
            self._work_left -= cell.work
            self._work_done += cell.work
            if note["error"] is None or cell.is_result():
                self._done[self._phase] += 1
                self._last = f"last: {cell.place}, {cell.outcome()}"
            elif not note["error"].startswith("KeyboardInterrupt"):
                print(f"error: {note['error']} (in {note['name']})", file=self._errors, flush=True)
        line = f"{self._phase}: {base or self.line()}"
        due = looked - self._said >= LINE_S and bool(base or self._news) and line != self._line
        phase_ends = bool(ended) and not self._running
        if (due or phase_ends) and not self._console.is_terminal:
            self._said, self._line, self._news = looked, line, False
            print(line, file=self._console.file, flush=True)

    def line(self) -> str:
        """The cells that are finished, the time that is left, and the last score."""
        parts = [f"cell {self.done} of {self.number}", time_left(self.seconds_left()), self._last]
        return ", ".join(part for part in parts if part)

    def seconds_left(self) -> float | None:
        """Estimated from the finished cells and the steps of all; None before the first."""
        done = self._work_done + sum(
            cell.work_so_far() for cell in self._running.values() if self._under_way(cell.folder)
        )
        left = self._work_left + self._work_done - done
        return self._seconds / done * left if done else None

    def table(self) -> Group:
        """A bar for each phase, the cells under way, and the line."""
        phases = Table.grid(padding=(0, 2))
        for phase, total in self._total.items():
            done = self._done[phase]
            phases.add_row(phase, ProgressBar(total, done, width=30), f"{done} of {total} cells")
        now = Table.grid(padding=(0, 2))
        if base := self.base_line():
            now.add_row(base)
        for cell in self._running.values():
            if self._under_way(cell.folder):
                now.add_row(cell.place, cell.state())
        return Group(phases, now, self.line())

    def base_line(self) -> str:
        """How far the base model is; empty unless it is being made."""
        for path in self._cache.glob("pretraining/*/*/*/*/run.json"):
            if record := self._under_way(path.parent):
                most = record.config["task"]["max_steps"]
                return f"making the base model, once: step {steps(path.parent, most)} of {most}"
        return ""

    def _under_way(self, folder: Path) -> RunRecord | None:
        """The record of a run, unless it has ended or is of an earlier command."""
        with suppress(OSError, UserError):
            if (folder / "run.json").stat().st_mtime >= self._began:
                record = read_record(folder)
                return None if record is None or record.ended else record
        return None


def time_left(seconds: float | None) -> str:
    """The time in words; nothing where there is no estimate, or no need of one."""
    if not seconds:
        return ""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "less than a minute left"
