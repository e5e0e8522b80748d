"""The signals that ask a run to stop, and who hears of them."""

import os
import signal

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
    """End a run whose state is saved, and let the signal's present handler know first.

    Args:
        number: The signal that asked for it; None if it reached another process.

    Raises:
        KeyboardInterrupt: Always.
    """
    if number is not None and callable(handler := signal.getsignal(number)):
        handler(number, None)
    raise KeyboardInterrupt
