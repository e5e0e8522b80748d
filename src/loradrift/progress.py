"""What is said of work that lasts, where nobody can watch a bar."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import parent_process

QUIET_S = 30.0
"""Seconds that work may last without a word."""

_run: ContextVar[str | None] = ContextVar("run", default="")


@contextmanager
def lines_of(run: str | None) -> Iterator[None]:
    """Have the lines of the block begin with the name of the run.

    It is empty where there is but one run, and None in a process that says nothing.
    """
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def speaker() -> str | None:
    """The run whose lines these are, for another process of it."""
    return _run.get()


def watched() -> bool:
    """Whether somebody can watch a bar: on a terminal that no other job writes to."""
    return sys.stdout.isatty() and not (_run.get() and parent_process())


def tell(line: str) -> None:
    """Print a line about the run."""
    if (run := _run.get()) is not None:
        print(f"{run}: {line}" if run else line, flush=True)


class Tenths:
    """A line after each tenth of some work, with the time that is left.

    Args:
        noun: What is counted.
        total: How many there are.
        done: How many an earlier process has done.
        quiet_s: Seconds after which the first line may come, and after each line the next.
    """

    def __init__(self, noun: str, total: int, *, done: int = 0, quiet_s: float = 0.0) -> None:
        self.noun, self.total, self.quiet_s = noun, total, quiet_s
        self._first, self._tenths = done, 10 * done // total
        self._began = self._said = time.perf_counter()

    def reach(self, done: int) -> None:
        """Say how far it is, once for each tenth."""
        now, tenths = time.perf_counter(), 10 * done // self.total
        if tenths == self._tenths or now - self._said < self.quiet_s:
            return
        self._tenths, self._said = tenths, now
        left = (now - self._began) / (done - self._first) * (self.total - done)
        tell(f"{self.noun} {done} of {self.total}, about {duration(left)} left")


@contextmanager
def announced(what: str, *, has_bar: bool = False) -> Iterator[None]:
    """Say what is being done where the block lasts, and again whenever it has lasted twice as long.

    ``has_bar`` says that a terminal shows a bar of it.
    """
    if has_bar and watched():
        yield
        return
    ended, run = threading.Event(), _run.get()

    def watch() -> None:
        lasted, wait = 0.0, QUIET_S
        while not ended.wait(wait):
            lasted += wait
            wait = lasted
            with lines_of(run):  # a thread has a context of its own
                tell(f"{what}: {duration(lasted)} so far")

    thread = threading.Thread(target=watch, name=what, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
