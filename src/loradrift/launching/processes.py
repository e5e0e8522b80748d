"""``hydra/launcher=joblib``: jobs side by side on one machine."""

import atexit
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import suppress
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from loradrift.launching.launched_job import LaunchedJob, ProcessLauncher
from loradrift.signals import interruptible, unheard

POLL_S = 0.5
"""Seconds between two looks at whether the launching process lives."""


class JoblibLauncher(ProcessLauncher):
    """Run jobs in joblib's worker processes, and start the next as soon as one ends.

    Each worker is a pool of its own: joblib ends all processes of a pool in which one is killed.
    ``launch`` may be called from several threads at once; workers are shared and kept.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._idle: list[Executor] = []
        self._busy: list[Any] = []
        self._stopping = False

    @property
    def num_jobs(self) -> int:
        """Jobs at a time."""
        from joblib import effective_n_jobs

        return int(effective_n_jobs(self.settings["n_jobs"]))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; gives their outcomes in the same order.

        Raises:
            KeyboardInterrupt: If asked to stop; the jobs under way have saved and ended.
        """
        num_jobs = self.num_jobs
        waiting = deque(self.jobs(job_overrides, initial_job_idx))
        running: dict[Future[JobReturn], tuple[LaunchedJob, Any]] = {}
        outcomes: dict[int, JobReturn] = {}
        with interruptible():
            try:
                while waiting or running:
                    while waiting and len(running) < num_jobs:
                        job, worker = waiting.popleft(), self._worker(num_jobs)
                        with unheard(signal.SIGINT):  # submitting starts the process
                            running[worker.submit(_run, job)] = job, worker
                        self._busy.append(worker)
                        if self._stopping:
                            _ask_to_stop(worker)
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        job, worker = running.pop(future)
                        self._busy.remove(worker)
                        outcomes[job.number] = _outcome(job, future)
                        if not isinstance(future.exception(), BrokenExecutor):
                            self._idle.append(worker)
            except KeyboardInterrupt:
                self.stop()
                wait(running)
                raise
        return [outcomes[number] for number in sorted(outcomes)]

    def stop(self) -> None:
        """Pass a request to stop on to all jobs; a terminal has sent it to them already."""
        self._stopping = True  # also for workers that other threads are about to start
        for worker in list(self._busy):
            _ask_to_stop(worker)

    def _worker(self, num_jobs: int) -> Any:
        """An idle worker, or a new one with its share of the CPU threads."""
        with suppress(IndexError):
            return self._idle.pop()
        from multiprocessing import resource_tracker

        from joblib._parallel_backends import LokyBackend
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.backend import resource_tracker as loky_tracker

        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()  # starting it with a worker would undo ``unheard``
        threads = self.settings["inner_max_num_threads"]
        env = LokyBackend(inner_max_num_threads=threads)._prepare_worker_env(num_jobs)
        worker = ProcessPoolExecutor(
            max_workers=1, env=env, initializer=_outlive_nobody, initargs=(os.getpid(),)
        )
        # one that is left to the interpreter's last breath writes a traceback there
        atexit.register(worker.shutdown)
        return worker


def _ask_to_stop(worker: Any) -> None:
    for pid in list(worker._processes):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


_at_work = threading.Lock()
"""Of a worker: held while it runs a job."""


def _run(job: LaunchedJob) -> JobReturn:
    """In a worker: between two jobs it does not hear what a terminal sends to all processes."""
    with _at_work:
        try:
            return job()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def _outlive_nobody(launcher: int) -> None:
    """In a worker: end when the process that launches has, after the job at hand has saved.

    joblib's own workers would wait for ever for their next job.
    """

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(POLL_S)
        if not _at_work.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
            _at_work.acquire()
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _outcome(job: LaunchedJob, future: Future[JobReturn]) -> JobReturn:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenExecutor):
        codes = re.search(r"\{(.*)\}", str(error))  # as SIGKILL(-9)
        return job.lost(f"its process was killed ({codes[1] if codes else 'no exit code'})")
    return JobReturn(overrides=job.overrides, status=JobStatus.FAILED, _return_value=error)
