"""``hydra/launcher=joblib``: jobs side by side on one machine."""

import atexit
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from loradrift.launching.launched_job import LaunchedJob, ProcessLauncher
from loradrift.launching.multirun import Jobs
from loradrift.signals import interruptible, unheard

PRELOADED = "loradrift.launching.preloaded"


class JoblibLauncher(ProcessLauncher):
    """Run jobs in worker processes, and start the next as soon as one ends.

    ``launch`` may be called from several threads at once; workers are shared and kept.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.log: Path | None = None
        """File that takes all that the workers print; None leaves it on the terminal."""

        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._stopping = False

    @property
    def num_jobs(self) -> int:
        """Jobs at a time."""
        return jobs_at_a_time(self.settings["n_jobs"], self.config)

    def launch(self, job_overrides: Jobs, initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; gives their outcomes in the same order.

        Asked to stop, it ends (KeyboardInterrupt) when the jobs under way have saved and ended.
        """
        num_jobs = self.num_jobs
        waiting = deque(self.jobs(job_overrides, initial_job_idx))
        running: dict[Any, tuple[LaunchedJob, Worker]] = {}
        outcomes: dict[int, JobReturn] = {}

        def end_one() -> None:
            for ready in wait(list(running)):
                job, worker = running.pop(ready)
                outcomes[job.number] = worker.outcome(job)
                self._busy.remove(worker)
                if worker.process.is_alive():
                    self._idle.append(worker)

        with interruptible():
            try:
                while waiting or running:
                    while waiting and len(running) < num_jobs:
                        job, worker = waiting.popleft(), self._worker(num_jobs)
                        self._busy.append(worker)
                        running[worker.pipe] = job, worker
                        worker.begin(job)
                        if self._stopping:
                            worker.ask_to_stop()
                    end_one()
            except KeyboardInterrupt:
                self.stop()
                while running:
                    end_one()
                raise
        return [outcomes[number] for number in sorted(outcomes)]

    def stop(self) -> None:
        """Pass a request to stop on to all jobs; a terminal has sent it to them already."""
        self._stopping = True  # also for workers that other threads are about to start
        for worker in list(self._busy):
            worker.ask_to_stop()

    def dismiss(self) -> None:
        """End the workers that have no job."""
        while self._idle:
            self._idle.pop().pipe.close()

    def _worker(self, num_jobs: int) -> "Worker":
        """An idle worker, or a new one with its share of the CPU threads."""
        with suppress(IndexError):
            return self._idle.pop()
        return Worker(threads_of_job(self.settings["inner_max_num_threads"], num_jobs), self.log)


def threads_of_job(asked: int | None, num_jobs: int) -> int:
    """CPU threads of each of so many jobs side by side.

    They are as many as ``hydra.launcher.inner_max_num_threads`` or ``OMP_NUM_THREADS`` says.
    """
    threads = asked or os.environ.get("OMP_NUM_THREADS")
    return int(threads or max(1, num_cpus() // num_jobs))


def num_cpus() -> int:
    """CPUs that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def jobs_at_a_time(asked: int | None, config: DictConfig) -> int:
    """How many jobs run side by side, where ``hydra.launcher.n_jobs`` is ``asked``.

    Null is one for each CPU, or a single one on a GPU; -1 is one for each CPU whatever they run on.
    """
    if asked is None and config.trainer.accelerator == "gpu":
        return 1
    if asked is None:
        return max(1, num_cpus() // int(config.trainer.devices))
    return asked if asked > 0 else max(1, num_cpus() + 1 + asked)


def start_server() -> None:
    """Start the process that all workers will be forks of, unless it runs: it imports meanwhile."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # a process that is forked must have no other thread
    try:
        forkserver.set_forkserver_preload([PRELOADED])
        resource_tracker.ensure_running()  # starting it with the server would undo ``unheard``
        with unheard(signal.SIGINT):
            forkserver.ensure_running()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


class Worker:
    """A process that runs one job after the other; ``log`` takes what they print."""

    def __init__(self, threads: int, log: Path | None) -> None:
        start_server()
        context = get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, threads, log))
        self.process.start()
        theirs.close()
        atexit.register(self.pipe.close)  # ends it: the interpreter waits for its processes

    def begin(self, job: LaunchedJob) -> None:
        """Hand over a job."""
        import cloudpickle

        with suppress(OSError):  # it was killed in the meantime, as its outcome will tell
            self.pipe.send_bytes(cloudpickle.dumps(job))

    def outcome(self, job: LaunchedJob) -> JobReturn:
        """What the job came to; waits for that."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            text = f"{signal.Signals(-code).name}({code})" if code < 0 else f"exit code {code}"
            return job.lost(f"its process was killed ({text})")
        if isinstance(outcome, BaseException):
            failed = JobStatus.FAILED
            return JobReturn(overrides=job.overrides, status=failed, _return_value=outcome)
        return outcome  # type: ignore[no-any-return]  # what the job gave

    def ask_to_stop(self) -> None:
        """Have the job at hand save and end."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGINT)


_at_work = threading.Lock()
"""A worker holds it while it runs a job."""


def _work(pipe: Connection, threads: int, log: Path | None) -> None:
    """Run the jobs that come, in a worker process.

    Between two jobs it does not hear what a terminal sends to all processes.
    """
    import cloudpickle
    import torch

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of processes that the job starts
    if log is not None:
        with log.open("ab") as file:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())
    threading.Thread(target=_outlive_nobody, name="watch", daemon=True).start()
    with suppress(EOFError, OSError):  # nobody has a job any more
        while True:
            sent = pipe.recv_bytes()
            with _at_work:
                try:
                    outcome: Any = cloudpickle.loads(sent)()
                except BaseException as error:
                    outcome = error
                finally:
                    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            pipe.send(outcome)


def _outlive_nobody() -> None:
    """End a worker whose launching process has ended, once its job has saved."""
    launcher = parent_process()
    assert launcher is not None
    launcher.join()
    if not _at_work.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGINT)
        _at_work.acquire()
    os._exit(1)
