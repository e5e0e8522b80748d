"""What the worker says to the program that started it: lines of JSON in a file."""

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.error_messages import one_line
from loradrift.generation.errors import AdapterVanished, EngineEnded
from loradrift.progress import Tenths

FILE = "messages.jsonl"


class Messages:
    """The worker's end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._began = time.perf_counter()

    def send(self, **message: Any) -> None:
        """Add a message, with the seconds since the worker began."""
        message["seconds"] = round(time.perf_counter() - self._began, 1)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")

    def fail(self, error: BaseException) -> None:
        """Say that the work cannot go on, and why; what nobody has foreseen is printed in full."""
        if not isinstance(error, UserError):
            traceback.print_exception(error)
        # torch's error of its own is known by name: it is not imported here
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            self.send(failed=f"out of memory: {error}".split("\n")[0], kind="memory")
        else:
            known = {AdapterVanished: "vanished", EngineEnded: "ended", UserError: "user"}
            kind = next((known[each] for each in known if isinstance(error, each)), "fault")
            self.send(failed=one_line(error), kind=kind)

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """Send what the block prints: the standard streams belong to the engine's libraries."""
        said = StringIO()
        with redirect_stdout(said):
            yield
        for line in said.getvalue().splitlines():
            self.send(say=line)


class Progress(Tenths):
    """Lines of progress that are sent instead of printed."""

    def __init__(self, messages: Messages, noun: str, total: int, *, done: int = 0) -> None:
        super().__init__(noun, total, done=done, quiet_s=1.0)
        self.messages = messages

    def reach(self, done: int) -> None:
        """Say how far it is, once for each tenth."""
        with self.messages.spoken():
            super().reach(done)


class Inbox:
    """The other end: the messages that have come since they were last asked for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.path.unlink(missing_ok=True)  # of an earlier worker
        self._read = 0

    def new(self) -> list[dict[str, Any]]:
        """New messages; one that is half written comes the next time."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
