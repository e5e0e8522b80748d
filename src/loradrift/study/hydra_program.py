"""The program around a study: composes configurations as Hydra would, launches jobs, searches."""

from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, open_dict

from loradrift.config import Config, load
from loradrift.config.values import expand_path
from loradrift.launching.processes import (
    JoblibLauncher,
    jobs_at_a_time,
    start_server,
    threads_of_job,
)
from loradrift.sweeping.space import quoted


@dataclass(frozen=True)
class Program:
    """What Hydra gives to a sweeper."""

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    """The configuration of the command as typed."""

    @property
    def folder(self) -> Path:
        """Where the jobs of this command leave their notes."""
        return Path(self.config.hydra.sweep.dir)

    @property
    def log(self) -> Path:
        """Takes what the jobs print."""
        return self.folder / "log.txt"

    @cached_property
    def launcher(self) -> Launcher:
        """What runs the jobs; its processes are kept from phase to phase."""
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task_function, config=self.config
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(launcher, JoblibLauncher):
            launcher.log = self.log
            start_server()
        return launcher

    def at_a_time(self, num_jobs: int) -> int:
        """How many of so many jobs the launcher runs side by side."""
        if self.in_process:
            return 1
        launcher = self.config.hydra.launcher
        if "n_jobs" in launcher:
            return min(num_jobs, jobs_at_a_time(launcher.n_jobs, self.config))
        return min(num_jobs, launcher.get("array_parallelism") or num_jobs)

    @property
    def threads(self) -> int:
        """CPU threads of each job, where ``trainer.threads`` does not say.

        Few jobs have no more of them than many: a launcher divides the CPUs by what it could run.
        """
        launcher, at_a_time = self.config.hydra.launcher, 1
        if not self.in_process and "n_jobs" in launcher:
            at_a_time = jobs_at_a_time(launcher.n_jobs, self.config)
        asked = launcher.get("inner_max_num_threads") or launcher.get("cpus_per_task")
        return threads_of_job(asked, at_a_time)

    @property
    def in_process(self) -> bool:
        """Whether its jobs run one after the other in this very process."""
        return bool(self.config.hydra.runtime.choices["hydra/launcher"] == "basic")

    @property
    def storage(self) -> str | None:
        """URL of the searches' storage; None is their own file."""
        typed = self.config.hydra.sweeper.storage
        return None if typed is None else expand_path("hydra.sweeper.storage", str(typed))

    @property
    def settings(self) -> Config:
        """The command's own configuration, judged."""
        return load(_without_hydra(self.config.copy()))

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job, as the launcher will compose it."""
        loader = self.context.config_loader
        return _without_hydra(loader.load_sweep_config(self.config, list(overrides)))

    def launch(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        """Run jobs, numbered from ``first``; one that fails does not end the others."""
        launcher = self.launcher  # makes the folder
        with self.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            return launcher.launch(jobs, initial_job_idx=first)

    def rest(self) -> None:
        """Let the processes of its jobs go; it starts new ones when it has jobs again."""
        if isinstance(self.launcher, JoblibLauncher):
            self.launcher.dismiss()

    def search(self, arguments: Sequence[str]) -> None:
        """Hand over to the sweeper of a search, with its own overrides (``search=…`` is one)."""
        config = self.as_search(arguments).config
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            hydra_context=self.context, task_function=self.task_function, config=config
        )
        sweeper.sweep(list(arguments))

    def as_search(self, arguments: Sequence[str]) -> "Program":
        """The program as it were if the search had been typed (:meth:`search`)."""
        typed = [str(each) for each in self.config.hydra.overrides.hydra]
        number = self.config.study.trials
        own = ["hydra/sweeper=loradrift_optuna", f"hydra.sweeper.n_trials={number}"]
        if not any(each.startswith("hydra/launcher=") for each in typed):
            # trials that run side by side know less of each other
            own.append("hydra/launcher=basic")
        # its trials are numbered from 0, and their notes must not replace the other jobs'
        own.append(f"hydra.sweep.dir={self.folder / 'search'}")
        name = self.config.hydra.job.config_name
        config = self.context.config_loader.load_configuration(
            name, [*typed, *own, *arguments], run_mode=RunMode.MULTIRUN
        )
        return replace(self, config=config)

    def as_benchmark(self, name: str, task_function: TaskFunction) -> "Program":
        """The program as if ``benchmark.py benchmark=<name> … -m`` had been typed.

        It has the same launcher. Its jobs are numbered from 0 too, and leave their notes in a
        folder of their own.
        """
        launcher = self.config.hydra.runtime.choices["hydra/launcher"]
        typed = [str(each) for each in self.config.hydra.overrides.hydra]
        own = [
            "hydra.mode=MULTIRUN",
            f"benchmark={name}",
            f"hydra/launcher={launcher}",
            *(each for each in typed if each.startswith("hydra.launcher.")),
            f"hydra.sweep.dir={quoted(str(self.folder / 'benchmark'))}",
        ]
        config = self.context.config_loader.load_configuration(
            "benchmark", own, run_mode=RunMode.MULTIRUN
        )
        context = replace(self.context, callbacks=Callbacks(config))
        return replace(self, context=context, task_function=task_function, config=config)


def _without_hydra(cfg: DictConfig) -> DictConfig:
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
