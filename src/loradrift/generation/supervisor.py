"""A process that ends another one, and all that it has started, when nobody needs it any more.

An engine's server starts processes of its own. Killed with ``kill -9``, neither the server nor the
program that started it can end them. This supervisor can::

    python -m loradrift.generation.supervisor COMMAND…

It runs the command in a session of its own and waits. When its standard input closes (which the
kernel does when the program at the other end dies, however it dies), when it is asked to stop
(SIGTERM, SIGINT, SIGHUP), or when the command ends, it asks all processes of the command to stop,
and kills those that are there after :data:`GRACE_S`. What the command prints goes to standard
error. Standard output gets the command's process id and at the end its exit code, a line each.

Only the standard library is imported, so that it starts at once and needs no package.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_S = 5.0
"""Seconds between the request to stop and the kill."""

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36


def main(command: Sequence[str]) -> int:
    """Run a command until it ends or has to end; gives its exit code as a shell does."""
    with suppress(AttributeError, OSError):  # Linux only: orphans become children of this process
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    heard = _hear(*STOPPING, signal.SIGCHLD)
    try:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    _tell(started.pid)
    family = Family(started.pid)
    while family.code is None and not _asked_to_stop(heard):
        family.reap()
    family.end()
    code = family.code if family.code is not None else -signal.SIGKILL
    _tell(code)
    return code if code >= 0 else 128 - code


def _hear(*numbers: signal.Signals) -> int:
    """A file descriptor that gets a byte for each of these signals, whose handlers do nothing."""
    heard, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return heard


def _asked_to_stop(heard: int) -> bool:
    """Wait until something happens; gives whether it is a request to stop."""
    ready, _, _ = select.select([0, heard], [], [])
    if 0 in ready and not os.read(0, 4096):
        return True
    signals = os.read(heard, 4096) if heard in ready else b""
    return any(number in signals for number in STOPPING)


def _tell(number: int) -> None:
    with suppress(OSError):  # the program that wanted to know is gone
        os.write(1, f"{number}\n".encode())


class Family:
    """A command's process group, and the orphans that have left it."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.code: int | None = None
        """Exit code of the command itself, once it has ended; negative if a signal ended it."""

    def reap(self) -> bool:
        """Take the exit codes of the processes that have ended; gives whether there are others."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.group:
                    self.code = os.waitstatus_to_exitcode(status)
        return self._signal_group(0)

    def end(self) -> None:
        """Ask all processes to stop, and kill those that do not."""
        asked: set[int] = set()
        deadline = time.monotonic() + GRACE_S
        self._signal_group(signal.SIGTERM)
        while self.reap() and time.monotonic() < deadline + GRACE_S:
            late = time.monotonic() > deadline
            if late:
                self._signal_group(signal.SIGKILL)
            for pid in self._strays():
                if late or pid not in asked:
                    asked.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(0.02)

    def _signal_group(self, number: int) -> bool:
        """Send a signal (0: none) to the group; gives whether it has a process."""
        try:
            os.killpg(self.group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _strays(self) -> list[int]:
        """The orphans that have left the group, where ``/proc`` tells."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                words = entry.read_text(errors="replace").rpartition(")")[2].split()
                parent, group = int(words[1]), int(words[2])
                if parent == os.getpid() and group != self.group:
                    found.append(int(entry.parent.name))
        return found


class Supervised:
    """A command below a supervisor, for the program that started both; like a ``Popen``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None, log: Path) -> None:
        self.log = log
        """File that all it prints is appended to."""

        self.returncode: int | None = None
        """The command's exit code once all its processes have ended; negative for a signal."""

        with log.open("ab") as file:
            self._log_began = file.tell()
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", __file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=env,
                start_new_session=True,  # a terminal's Ctrl-C is for the program to answer
            )
        assert self._supervisor.stdin is not None and self._supervisor.stdout is not None
        self._alive, self._told = self._supervisor.stdin, self._supervisor.stdout
        self.pid = int(self._told.readline() or -1)
        """The command's process id, which is its group's and its session's."""

    def printed(self) -> str:
        """What it has printed."""
        with self.log.open("rb") as file:
            file.seek(self._log_began)
            return file.read().decode(errors="replace")

    def poll(self) -> int | None:
        """The exit code, or None while any of its processes is there."""
        if self._supervisor.poll() is None:
            return None
        return self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of all its processes; gives the exit code.

        Raises:
            subprocess.TimeoutExpired: If it takes more than ``timeout`` seconds.
        """
        self._supervisor.wait(timeout)
        if self.returncode is None:
            with self._told:
                told = self._told.read()
            self.returncode = int(told or -signal.SIGKILL)
            if not told and self.pid > 0:  # somebody has killed the supervisor
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        return self.returncode

    def stop(self) -> int:
        """End it and all that it has started; gives the exit code."""
        with suppress(OSError):
            self._alive.close()
        try:
            return self.wait(3 * GRACE_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            return self.wait()


@contextmanager
def supervised(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path
) -> Iterator[Supervised]:
    """Run a command that ends with the block, or with this process, however that ends.

    Args:
        command: The program and its arguments.
        env: Its whole environment; None is that of this process.
        log: File that all it prints is appended to.

    Raises:
        ChildProcessError: If it cannot be started.
    """
    process = Supervised(command, env, log)
    try:
        if process.pid < 0:
            process.wait()
            raise ChildProcessError(process.printed().strip().rpartition("\n")[2])
        yield process
    finally:
        process.stop()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m loradrift.generation.supervisor COMMAND…")
    sys.exit(main(sys.argv[1:]))
