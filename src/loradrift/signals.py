"""The signals that ask a run to stop, and the code that is told of them."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

REQUEUE = signal.SIGUSR2
"""Sent by a scheduler, through submitit, before the time is up or another job takes the place."""


def stopping() -> tuple[signal.Signals, ...]:
    """The signals after which a run saves its state and ends.

    In a submitit job SIGTERM is none of them. There it announces what comes: a job that is being
    cancelled or pre-empted gets it first, and one that ends by itself is not started again.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        return (signal.SIGINT, REQUEUE)
    return (signal.SIGINT, signal.SIGTERM, REQUEUE)


def stop(number: int | None) -> None:
    """End a run whose state is saved by a KeyboardInterrupt; the signal's handler hears first.

    The number of the signal that asked for it is None if it reached another process.
    """
    if number is not None and callable(handler := signal.getsignal(number)):
        handler(number, None)
    raise KeyboardInterrupt


@dataclass(eq=False)  # each block is itself
class Asked:
    """The signal that asked this process to stop, if one did."""

    signal: int | None = None
    ending: bool = False
    """Whether it is about to end; what it then does must not be cut short."""


_blocks: list[Asked] = []
"""The blocks of this process; the innermost is the last."""


def pending() -> int | None:
    """The signal that asked this process to stop, if it has not ended all the same.

    The exception that a signal raises may hit code that swallows it, as some libraries do.
    """
    return next((asked.signal for asked in _blocks if asked.signal), None)


@contextmanager
def interruptible() -> Iterator[Asked]:
    """Note the signals that ask a run to stop, and let each of them end the block.

    After a scheduler's :data:`REQUEUE` the handler before the block, which is submitit, hears of it
    when the block has ended: it asks for the job again, and exits.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asked.ending:
            return  # a launcher passes on what the terminal has already sent
        asked.signal = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in stopping()}
    _blocks.append(asked)
    try:
        yield asked
    except BaseException:
        requeue = before[REQUEUE]
        if asked.signal == REQUEUE and callable(requeue):
            requeue(REQUEUE, None)
        raise
    finally:
        _blocks.remove(asked)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """Processes that are started in the block do not hear a signal until they ask for it.

    A terminal sends Ctrl-C to all its processes. One that is still being started would end with a
    traceback; of submitit's local jobs the one that watches over a job would kill it a second
    later. The job itself (:class:`~loradrift.launching.launched_job.LaunchedJob`) asks.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
