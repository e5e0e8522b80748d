"""``hydra/launcher=submitit_slurm`` and ``submitit_local``: jobs that a scheduler may requeue."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, ClassVar

from hydra.core.utils import JobReturn

from loradrift.config import UserError
from loradrift.launching.launched_job import LaunchedJob, ProcessLauncher
from loradrift.launching.multirun import Jobs
from loradrift.signals import interruptible, unheard

POLL_S = 0.5
"""Seconds between two looks at the jobs, and at whether anybody wants to stop."""


class SubmititLauncher(ProcessLauncher):
    """Submit all jobs of a batch together, and wait for them.

    ``launch`` may be called from several threads at once.
    """

    cluster: ClassVar[str]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._stopped = threading.Event()

    def setup(self, **given: Any) -> None:
        """Take what every job needs; refuse to begin without submitit."""
        super().setup(**given)
        if find_spec("submitit") is None:
            name = f"hydra/launcher=submitit_{self.cluster}"
            raise UserError(f"{name} needs the package submitit: pip install '.[cluster]'")

    def launch(self, job_overrides: Jobs, initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; gives their outcomes in the same order.

        Asked to stop, by a signal or from another thread, it ends with KeyboardInterrupt.
        """
        jobs = self.jobs(job_overrides, initial_job_idx)
        folder = Path(self.config.hydra.sweep.dir, ".submitit").absolute()
        executor = self._executor(folder / "%j")
        with interruptible():
            with unheard(signal.SIGINT), executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            print(f"{_jobs(len(jobs))} submitted; what they say is in {folder}", flush=True)
            try:
                return [self._outcome(job, each) for job, each in zip(jobs, submitted, strict=True)]
            except KeyboardInterrupt:
                self._leave(submitted)
                raise

    def stop(self) -> None:
        """Have all threads stop that wait for jobs."""
        self._stopped.set()

    def _outcome(self, job: LaunchedJob, submitted: Any) -> JobReturn:
        """Wait for a job to end, and give its outcome."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        while not submitted.done():
            if self._stopped.wait(POLL_S):
                raise KeyboardInterrupt
        try:
            [outcome] = submitted.results()
        except FailedJobError as error:  # its message is submitit's, around a traceback
            lines = str(error).split("-" * 22)[1].strip().splitlines()
            return job.lost(f"{lines[-1]} (log: {submitted.paths.stderr})")
        except UncompletedJobError:
            why = f"{submitted.state}; log: {submitted.paths.stderr}"
            return job.lost(f"its process was killed ({why})")
        assert isinstance(outcome, JobReturn)
        return outcome

    def _executor(self, folder: Path) -> Any:
        """Submitit's own, with everything that was set."""
        raise NotImplementedError

    def _leave(self, submitted: Sequence[Any]) -> None:
        """What becomes of the jobs when nobody waits for them any more."""
        raise NotImplementedError


class LocalLauncher(SubmititLauncher):
    """Processes on this machine, requeued as SLURM would do it."""

    cluster = "local"

    def _executor(self, folder: Path) -> Any:
        from submitit import LocalExecutor

        settings = dict(self.settings)
        executor = LocalExecutor(folder, max_num_timeout=settings.pop("max_num_timeout"))
        executor.update_parameters(**settings)
        return executor

    def _leave(self, submitted: Sequence[Any]) -> None:
        """They save and stop: submitit itself would kill them after a second."""
        if number := sum(not each.done() for each in submitted):
            jobs = _jobs(number)
            print(f"waiting for {jobs} to save and end", file=sys.stderr, flush=True)
        told: set[int] = set()
        while left := [each for each in submitted if not each.done()]:
            # one that is just being started, or requeued, has no process yet
            found = {pid for each in left for pid in _children(int(each.job_id))}
            for pid in found - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            told |= found
            time.sleep(POLL_S)


class SlurmLauncher(SubmititLauncher):
    """Jobs of one SLURM array."""

    cluster = "slurm"

    def setup(self, **given: Any) -> None:
        """Take what every job needs; refuse to begin without submitit or SLURM."""
        super().setup(**given)
        if which("sbatch") is None or which("srun") is None:
            raise UserError(
                "hydra/launcher=submitit_slurm needs SLURM, and this machine has no sbatch and "
                "srun: type it on the cluster's login node, or take submitit_local"
            )

    def _executor(self, folder: Path) -> Any:
        from submitit import SlurmExecutor

        settings = dict(self.settings)
        limits = {"max_num_timeout": settings.pop("max_num_timeout")}
        executor = SlurmExecutor(folder, python=settings.pop("python"), **limits)
        memory = settings.pop("mem_gb")
        named = {
            "job_name": self.config.hydra.job.name,
            "time": settings.pop("timeout_min"),
            "mem": None if memory is None else f"{memory}GB",
        }
        # what is null or zero is not said, so that the cluster's own defaults hold
        executor.update_parameters(**{k: v for k, v in (settings | named).items() if v})
        return executor

    def _leave(self, submitted: Sequence[Any]) -> None:
        """They stay in the queue: who waits for them is not who runs them."""
        [array] = {each.job_id.partition("_")[0] for each in submitted}
        line = f"the jobs stay in SLURM's queue; scancel {array} takes them out"
        print(line, file=sys.stderr, flush=True)


def _jobs(number: int) -> str:
    return f"{number} job{'s' * (number > 1)}"


def _children(pid: int) -> list[int]:
    """The processes that a process has started."""
    with suppress(OSError):
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return []
