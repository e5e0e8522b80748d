"""``hydra/launcher=submitit_slurm`` and ``submitit_local``: jobs that a scheduler may requeue."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from loradrift.cli import interruptible
from loradrift.config import UserError
from loradrift.launching.job import Job, ProcessLauncher


class SubmititLauncher(ProcessLauncher):
    """Submit all jobs of a batch together, and wait for them."""

    cluster: ClassVar[str]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what every job needs.

        Raises:
            UserError: If submitit is not installed.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if find_spec("submitit") is None:
            raise UserError(
                f"hydra/launcher=submitit_{self.cluster} needs the package submitit: "
                "pip install 'loradrift[cluster]'"
            )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; gives their outcomes in the same order.

        Raises:
            KeyboardInterrupt: If asked to stop waiting.
        """
        jobs = self.jobs(job_overrides, initial_job_idx)
        folder = Path(self.config.hydra.sweep.dir, ".submitit").absolute()
        executor = self._executor(folder / "%j")
        with interruptible():
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            print(f"{len(jobs)} jobs submitted; what they say is in {folder}", flush=True)
            try:
                return [_outcome(job, each) for job, each in zip(jobs, submitted, strict=True)]
            except KeyboardInterrupt:
                self._leave(submitted)
                raise

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
        """They stop: each has a second to save."""
        for each in submitted:
            each.cancel()
        for each in submitted:
            each.wait()


class SlurmLauncher(SubmititLauncher):
    """Jobs of one SLURM array."""

    cluster = "slurm"

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what every job needs.

        Raises:
            UserError: If there is no submitit, or no SLURM.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
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


def _outcome(job: Job, submitted: Any) -> JobReturn:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        [outcome] = submitted.results()
    except FailedJobError as error:  # its message is submitit's, around a traceback
        lines = str(error).split("-" * 22)[1].strip().splitlines()
        return job.lost(f"{lines[-1]} (log: {submitted.paths.stderr})")
    except UncompletedJobError:
        return job.lost(
            f"its process was killed ({submitted.state}; log: {submitted.paths.stderr})"
        )
    assert isinstance(outcome, JobReturn)
    return outcome
