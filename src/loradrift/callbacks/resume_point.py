"""The checkpoint an interrupted run goes on from."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from loradrift.signals import REQUEUE, pending, stopping

SIGNALS = (signal.SIGINT, signal.SIGTERM, REQUEUE)

PATIENCE = 2.0
"""Seconds within which a second signal counts as the first."""


class StopRequested(BaseException):
    """A signal that ends a run (None if another process got it), raised when the state is saved.

    Not a ``KeyboardInterrupt``, which Lightning turns into exit code 1.
    """

    def __init__(self, number: int | None) -> None:
        super().__init__(number)
        self.number = number


class ResumePoint(Callback):
    """Save the whole training state every ``every_n_steps`` steps, at the end, and on a signal.

    It is saved just before a micro-batch that begins an optimizer step: everything due at the
    step before (dump, validation, best checkpoint) is then done, and no gradient is pending.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self._last_step = -1
        self._announced = False
        self._asked_at: float | None = None
        self._number: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals and count from here."""
        self._last_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._notice)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is due; stop if asked to."""
        step = trainer.global_step
        # Lightning adds one to its logging step when it resumes; metrics.csv would shift.
        trainer.fit_loop.epoch_loop._batches_that_stepped = step
        if batch_idx % trainer.accumulate_grad_batches:
            return
        # Saving waits for all processes, so they must save, and stop, at the same step.
        anywhere = trainer.strategy.reduce_boolean_decision
        asked = self._asked_at is not None or pending() is not None
        urgent = anywhere(asked or self._announced, all=False)
        if urgent or (step % self.every_n_steps == 0 and step != self._last_step):
            self._save(trainer)
        if urgent and anywhere(asked, all=False):
            raise StopRequested(self._number or pending())
        self._announced = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, so that an interrupted evaluation need not train again."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._last_step = trainer.global_step
        for logger in trainer.loggers:
            logger.save()  # metrics up to here must be on disk before the checkpoint is
        trainer.save_checkpoint(self.path)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if number not in stopping():
            self._announced = True  # save, and go on for as long as it lasts
            return
        # A launcher passes on what the terminal has already sent: that is one request, not two.
        if self._asked_at is not None and time.monotonic() - self._asked_at > PATIENCE:
            raise KeyboardInterrupt  # asked again: stop here and go on from the last checkpoint
        self._asked_at, self._number = time.monotonic(), number


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the handlers that the signals had before the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
