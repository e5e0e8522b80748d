"""One job of a multirun, as another process runs it."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from loradrift.cli.job_summary import note_loss
from loradrift.launching.config import validate_settings
from loradrift.sweeping.trial_callback import has_ended


@dataclass
class LaunchedJob:
    """Everything that it takes to run a job elsewhere; travels as a pickle."""

    context: HydraContext
    task: TaskFunction
    sweep: DictConfig
    """The multirun's configuration."""

    overrides: list[str]
    number: int
    singletons: dict[Any, Any] = field(default_factory=Singleton.get_state)
    """Hydra's state in the process that launches."""

    def __call__(self) -> JobReturn:
        """Run it; called in the job's own process."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # it was started without
        setup_globals()
        Singleton.set_state(self.singletons)
        config = self.config
        if has_ended(config):
            trial = f"trial {config.search.trial} of {config.search.study}"
            print(f"{trial} was given up while this job waited; another job runs it", flush=True)
            return JobReturn(overrides=list(self.overrides), status=JobStatus.COMPLETED)
        try:
            return run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except KeyboardInterrupt:
            # Hydra has tied the outcome to the exception and back, which no pickle gets over.
            raise KeyboardInterrupt from None

    def checkpoint(self) -> Any:
        """What submitit queues again when it stops the job: the same, for the cell is resumed."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    @property
    def config(self) -> DictConfig:
        """The composed configuration of this job."""
        config = self.context.config_loader.load_sweep_config(self.sweep, self.overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{self.number}"
            config.hydra.job.num = self.number
        return config

    def lost(self, reason: str) -> JobReturn:
        """The outcome of a job whose process ended without a word; said, noted and recorded."""
        config = self.config
        own = config.copy()
        with read_write(own), open_dict(own):
            del own["hydra"]
        outcome = JobReturn(overrides=list(self.overrides), cfg=own)
        note_loss(config, outcome, reason)
        return outcome


class ProcessLauncher(Launcher):
    """What the launchers have in common: values of their schema, and what every job needs."""

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }
        validate_settings(self.settings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what every job needs."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def stop(self) -> None:
        """Ask the jobs to end that other threads have launched; here they come to their end."""

    def jobs(self, overrides: Sequence[Sequence[str]], first: int) -> list[LaunchedJob]:
        """The jobs of a batch, numbered from ``first``."""
        return [
            LaunchedJob(self.context, self.task, self.config, list(each), number)
            for number, each in enumerate(overrides, first)
        ]
