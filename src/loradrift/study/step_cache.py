"""Which analyses are done: of the same runs, by the same code, with their files still there."""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.caching import recall
from loradrift.files import read_json, write_json
from loradrift.runs.record import git_state


@dataclass(frozen=True)
class Step:
    """An analysis: what it reads and what it writes."""

    stamp: Path
    """Remembers what it was made of."""

    reads: list[Path]
    writes: list[Path]
    """Files and folders."""

    @property
    def done(self) -> bool:
        """Whether its results are there, of what is to be read now."""
        found = self.remembered
        # code with changes has no name
        return bool(found) and not git_state()["dirty"] and found == found | self._digests()

    @property
    def remembered(self) -> dict[str, Any]:
        """The stamp; empty without one."""
        return recall(self.stamp, read_json) or {}

    def run(self, make: Callable[[], object]) -> None:
        """Do it and remember; what a killed process left half-written goes first."""
        began = time.perf_counter()
        for folder in {folder for path in self.writes for folder in (path, path.parent)}:
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        make()
        write_json(self.stamp, self._digests() | {"seconds": time.perf_counter() - began})

    def _digests(self) -> dict[str, Any]:
        commit = git_state()["commit"]
        return {"commit": commit, "read": digest(self.reads), "written": digest(self.writes)}


def digest(paths: Iterable[Path]) -> str:
    """sha256 of files, and of everything in folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file}\n{file.stat().st_size}\n".encode())
                total.update(file.read_bytes())
    return total.hexdigest()
