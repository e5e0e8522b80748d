"""A cell of a design is a directory: finished, interrupted, held by another process, or new."""

import json
import os
import shutil
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loradrift.config import UserError, keys
from loradrift.error_messages import one_line
from loradrift.files import write_json
from loradrift.locks import locked
from loradrift.runs.reading import read_record
from loradrift.runs.record import RunRecord, Status, new_record, now
from loradrift.signals import REQUEUE, interruptible


class CellBusyError(UserError):
    """Another process is at work on the same cell."""


@dataclass
class Cell:
    """The directory of some work, held by this process, and the record in it."""

    folder: Path
    record: RunRecord
    writes: bool = True
    """Whether this process keeps the record: of several at one cell, the first does."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record.status.is_finished

    @property
    def last_checkpoint(self) -> Path:
        """Where an interrupted run goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The trained weights with the best validation metric."""
        return self.folder / "checkpoints" / "best.ckpt"

    def save(self, **changes: Any) -> None:
        """Change fields of the record and write ``run.json``; nothing else writes that file."""
        if changes.get("status", Status.RUNNING) is not Status.RUNNING:
            changes["ended"] = now()
        self.record = replace(self.record, **changes)
        if self.writes:
            write_json(self.folder / "run.json", asdict(self.record))
            if self.finished or self.record.status is Status.PRUNED:
                self.drop_resume_point()

    def drop_resume_point(self) -> None:
        """Delete the last checkpoint, from which work that has come to its end never goes on.

        It is three times as large as the weights that train. The best checkpoint stays, and
        ``model/``, the same weights in the format of transformers and PEFT.
        """
        self.last_checkpoint.unlink(missing_ok=True)

    def end(self, status: Status, error: BaseException) -> None:
        """Record work that ended without success, and keep the traceback beside the record."""
        with suppress(OSError):  # a full disk must not hide the error itself
            # a process of its own may have written it since
            self.record = read_record(self.folder) or self.record
            self.save(status=status, error=one_line(error))
            log = "".join(traceback.format_exception(error))
            (self.folder / "error.log").write_text(log, encoding="utf-8")


@contextmanager
def open_cell(
    folder: Path,
    identity: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    force: bool = False,
    wait: bool = False,
    kind: str = "training",
    phase: str = "production",
    coordinates: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Iterator[Cell]:
    """Hold a cell while the block does its work, and record how that ends.

    A finished cell with the same identity comes back finished; an unfinished one with a record
    that says it was resumed. The block records its own success (:meth:`Cell.save`).

    ``identity`` is what makes two cells the same, and ``defaults`` what a key of it means where a
    record is older than the key: values that JSON can hold. ``force`` archives what the folder
    holds and starts anew, unless it is finished and the same; ``wait`` waits for another process
    that holds the cell. The record keeps the rest.

    Raises:
        CellBusyError: If another process holds the cell; names it.
        UserError: If the folder holds work with another identity, or a damaged record, and
            ``force`` is off.
    """
    if not force and (finished := finished_record(folder, identity, defaults)):
        yield Cell(folder, finished)  # reading needs no lock, and leaves no trace
        return
    with interruptible() as asked, hold(folder, wait=wait):
        if wait and (finished := finished_record(folder, identity, defaults)):  # by its holder
            yield Cell(folder, finished)
            return
        for leftover in (*folder.glob(".*.tmp"), *folder.glob("checkpoints/.*.tmp")):
            # of a process that was killed while writing
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        fresh = new_record(identity, kind, phase, coordinates or {}, overrides)
        cell = Cell(folder, _resumed(folder, fresh, defaults, force))
        try:
            if not cell.finished:
                cell.save()
            yield cell
        except BaseException as error:
            if cell.finished:
                raise
            asked.ending = True
            # What a signal hits may raise something else: Lightning makes it a SystemExit
            # while it evaluates, a module that is being loaded an ImportError.
            if asked.signal or isinstance(error, KeyboardInterrupt | SystemExit):
                why = "pre-empted by the scheduler" if asked.signal == REQUEUE else "interrupted"
                cell.end(Status.INTERRUPTED, KeyboardInterrupt(why))
                raise KeyboardInterrupt from error
            # by name: torch, whose error it is, is not imported here
            full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            cell.end(Status.OUT_OF_MEMORY if full else Status.FAILED, error)
            raise


def finished_record(
    folder: Path, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> RunRecord | None:
    """The record of a cell if it is finished, with this very identity (:func:`open_cell`)."""
    record = read_record(folder)
    if record is None or not record.status.is_finished:
        return None
    return None if _changed(record, identity, defaults) else record


def diverged_record(
    folder: Path, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> RunRecord | None:
    """The record of a cell that diverged, with this very identity (:func:`open_cell`)."""
    record = read_record(folder)
    if record is None or not record.diverged:
        return None
    return None if _changed(record, identity, defaults) else record


def _changed(
    record: RunRecord, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None
) -> list[str]:
    plain = (json.loads(json.dumps(each)) for each in (identity, defaults or {}))
    return keys.changes(record.config, *plain)


def _resumed(
    folder: Path, fresh: RunRecord, defaults: Mapping[str, Any] | None, force: bool
) -> RunRecord:
    """The record to go on with; what cannot be gone on with is archived, if that is allowed."""
    try:
        record = read_record(folder)
    except UserError:
        if not force:
            raise
        record = None
    if record is None:
        if (folder / "checkpoints").exists():
            archive(folder)  # without its record nobody knows what was trained there
        return fresh
    changed = _changed(record, fresh.config, defaults)
    if record.status.is_finished and not changed:
        return record
    if force:
        archive(folder)
        return fresh
    if changed:
        raise UserError(
            f"{folder} holds a run with another configuration: {', '.join(changed)}; "
            "force=true archives it and starts anew"
        )
    fresh.started, fresh.resumed = record.started, record.resumed + 1
    fresh.fingerprints, fresh.start = record.fingerprints, record.start
    return fresh


def archive(folder: Path) -> None:
    """Move everything in ``folder`` but the lock into ``folder/archive/<time>``."""
    target = folder / "archive" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target.mkdir(parents=True)
    for item in folder.iterdir():
        if item.name not in (".lock", ".owner", "archive"):
            item.rename(target / item.name)


def record_loss(folder: Path, reason: str) -> None:
    """Record that the process of a cell ended without a word; nothing where that is not so."""
    with suppress(CellBusyError, UserError), hold(folder):
        record = read_record(folder)
        if record and record.status is Status.RUNNING:
            Cell(folder, record).save(status=Status.FAILED, error=reason)


@contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock ``folder`` against other processes; the system frees it if this one dies.

    Raises:
        CellBusyError: If another process holds it, and ``wait`` is off.
    """
    owner = folder / ".owner"

    def busy() -> None:
        holder = ""
        with suppress(FileNotFoundError):  # it has just taken the lock, or leaves it
            holder = owner.read_text(encoding="utf-8")
        line = f"{folder} is held by {holder or 'another process'}"
        if not wait:
            raise CellBusyError(line)
        print(f"{line}; waiting for it", flush=True)

    with locked(folder / ".lock", busy):
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)
