"""The sweeper as Hydra sees it: its options, and a class that loads Optuna only when it sweeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf, TPESamplerConfig
from omegaconf import DictConfig

from loradrift.config import PRUNERS, UserError, require


@dataclass
class LoradriftOptunaConf(OptunaSweeperConf):
    """Options of hydra-optuna-sweeper, with other defaults, and ours."""

    _target_: str = "loradrift.sweeping.plugin.LoradriftOptunaSweeper"
    direction: Any = None
    """``maximize`` or ``minimize``; null is whichever the task's metric wants."""

    storage: Any = None
    """``sqlite:///…`` or ``postgresql+psycopg://…``; null is one SQLite file per study, in the
    folder of the runs."""

    n_trials: int = 10
    """In total: the same command goes on up to this number."""

    n_jobs: int = 1
    """Trials at a time; more than one needs a launcher that starts processes."""

    max_failure_rate: float = 1.0
    """Share of ``n_trials`` that may fail; if more do, the search gives up."""

    pruner: str = "median"
    """``median``, ``hyperband``, ``successive_halving`` or ``none``."""

    heartbeat_s: int = 15
    """A running trial shows this often that it is alive."""

    grace_s: int = 120
    """A trial of another machine that has not for so long is given up and run again. Time is the
    server's own: the machines' clocks may differ."""


@dataclass
class LearningTPEConf(TPESamplerConfig):
    """``hydra/sweeper/sampler=tpe``, which learns within a search of ten trials."""

    n_startup_trials: int = 4
    """Trials that are drawn at random, before it draws from what they came to; Optuna's own
    default is ten."""


def judge_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are illegal or that nobody would read; Hydra has judged the types alone.

    Raises:
        UserError: Naming key, rule and value.
    """
    key = "hydra.sweeper."
    for name in ("n_trials", "n_jobs", "heartbeat_s"):
        require(options[name] > 0, key + name, "positive", options[name])
    pruner, share = options["pruner"], options["max_failure_rate"]
    require(pruner in PRUNERS, f"{key}pruner", " or ".join(PRUNERS), pruner)
    require(0 <= share <= 1, f"{key}max_failure_rate", "in [0, 1]", share)
    direction, known = options["direction"], ("maximize", "minimize")
    require(direction in (None, *known), f"{key}direction", " or ".join(known), direction)
    heartbeat, grace = options["heartbeat_s"], options["grace_s"]
    require(grace > heartbeat, f"{key}grace_s", f"longer than {key}heartbeat_s={heartbeat}", grace)
    if (name := options["study_name"]) is not None:
        raise UserError(
            f"{key}study_name={name} has no effect: a search is called "
            "<study.name>/<task>/<method>, and study.name=… gives it another name"
        )


def judge_launcher(num_trials: int, in_process: bool, limit: int | None) -> None:
    """Refuse more trials at a time than the launcher runs.

    Args:
        num_trials: ``hydra.sweeper.n_jobs``.
        in_process: Whether the launcher runs its jobs one after the other in this process.
        limit: How many jobs it runs at a time; None if it has none.

    Raises:
        UserError: Naming the key.
    """
    if num_trials > 1 and in_process:
        raise UserError(
            f"hydra.sweeper.n_jobs={num_trials} needs a launcher that starts processes: "
            "hydra/launcher=joblib, submitit_local or submitit_slurm"
        )
    if limit is not None and num_trials > limit:
        raise UserError(
            f"hydra.sweeper.n_jobs={num_trials} trials at a time need as many of "
            f"hydra.launcher.n_jobs, got {limit}"
        )


class LoradriftOptunaSweeper(Sweeper):
    """``hydra/sweeper=loradrift_optuna``."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the sweep.

        Raises:
            UserError: If an option is illegal, or a listing was asked for.
        """
        judge_options(self.options)
        if config.study.dry_run:  # a study keeps it from its searches
            raise UserError("study.dry_run=true lists a study (study=drift -m), and no search")
        from loradrift.sweeping.sweep import SearchSweep

        self.search = SearchSweep(**self.options)
        self.search.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that are left.

        Args:
            arguments: As typed, ``key=value``, ranges included.
        """
        self.search.sweep(arguments)


def register() -> None:
    """Make the sweeper and its sampler known to Hydra."""
    Plugins.instance().register(LoradriftOptunaSweeper)
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="loradrift_optuna", node=LoradriftOptunaConf)
    store(group="hydra/sweeper/sampler", name="tpe", node=LearningTPEConf, replace=True)
