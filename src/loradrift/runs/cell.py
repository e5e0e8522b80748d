"""A cell of the design is a directory: finished, interrupted, held by somebody, or new."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loradrift.config import Config, UserError, identity
from loradrift.config.keys import flatten
from loradrift.locks import locked
from loradrift.runs.record import RunRecord, Status, new_record, now, read_record


class CellBusyError(UserError):
    """Another process is at work on the same cell."""


@dataclass
class Cell:
    """A run's directory, held by this process, and the record in it."""

    folder: Path
    record: RunRecord

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record.status is Status.SUCCESS

    @property
    def last_checkpoint(self) -> Path:
        """Where an interrupted run goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The trained weights with the best validation metric."""
        return self.folder / "checkpoints" / "best.ckpt"


@contextmanager
def open_cell(config: Config) -> Iterator[Cell]:
    """Hold the cell of ``config`` while the block runs.

    A finished cell with the same configuration comes back finished, an interrupted one with its
    record, so that it can resume. A trial of a search waits for a cell that another one with the
    same values is at.

    Raises:
        CellBusyError: If another process holds the cell, of no trial; names it.
        UserError: If the folder holds a run with another configuration, or a damaged record, and
            ``force`` is off.
    """
    folder = config.cell
    finished = None if config.force else finished_record(config)
    if finished:
        yield Cell(folder, finished)  # reading needs no lock, and leaves no trace
        return
    trial = config.search.trial is not None
    with hold(folder, wait=trial):
        if trial and (finished := finished_record(config)):  # by whoever held it
            yield Cell(folder, finished)
            return
        for leftover in (*folder.glob(".*.tmp"), *folder.glob("checkpoints/.*.tmp")):
            # of a process that was killed while writing
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield Cell(folder, _taken_up(folder, config))


def finished_record(config: Config) -> RunRecord | None:
    """The record of the cell if it is finished, with this very configuration.

    Raises:
        UserError: If it is damaged.
    """
    record = read_record(config.cell)
    if record is None or record.status is not Status.SUCCESS or changed_keys(record, config):
        return None
    return record


def _taken_up(folder: Path, config: Config) -> RunRecord:
    """The record to go on with; what cannot be gone on with is archived, if that is allowed."""
    fresh = new_record(config)
    try:
        record = read_record(folder)
    except UserError:
        if not config.force:
            raise
        record = None
    if record is None:
        if (folder / "checkpoints").exists():
            archive(folder)  # without its record nobody knows what was trained there
        return fresh
    changes = changed_keys(record, config)
    if record.status is Status.SUCCESS and not changes:
        return record
    if config.force:
        archive(folder)
        return fresh
    if changes:
        raise UserError(
            f"{folder} holds a run with another configuration: {', '.join(changes)}; "
            "force=true archives it and starts anew"
        )
    fresh.started, fresh.resumed = record.started, record.resumed + 1
    fresh.fingerprints = record.fingerprints
    return fresh


def changed_keys(record: RunRecord, config: Config) -> list[str]:
    """``key: old -> new`` for each value that differs from the recorded configuration."""
    old = flatten(record.config)
    new = flatten(json.loads(json.dumps(identity(config))))
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key, '(absent)')} -> {new.get(key, '(absent)')}" for key in keys]


def archive(folder: Path) -> None:
    """Move everything in ``folder`` but the lock into ``folder/archive/<time>``."""
    target = folder / "archive" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target.mkdir(parents=True)
    for item in folder.iterdir():
        if item.name not in (".lock", ".owner", "archive"):
            item.rename(target / item.name)


@contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock ``folder`` against other processes; the system frees it if this one dies.

    Args:
        folder: Of a cell; made where there is none.
        wait: Whether to wait for another process, rather than fail.

    Raises:
        CellBusyError: If another process holds it, and nobody waits.
    """
    owner = folder / ".owner"

    def busy() -> None:
        line = f"{folder} is held by {_read(owner) or 'another process'}"
        if not wait:
            raise CellBusyError(line)
        print(f"{line}; waiting for it", flush=True)

    with locked(folder / ".lock", busy):
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now()}")
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)


def _read(path: Path) -> str:
    with suppress(FileNotFoundError):  # a process that has just taken the lock, or leaves it
        return path.read_text(encoding="utf-8")
    return ""
