"""What a search can be told (``hydra.sweeper.<key>=<value>``), and what samples its trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf, TPESamplerConfig
from omegaconf import DictConfig

from loradrift.config import PRUNERS, UserError, check
from loradrift.config.values import check_seed
from loradrift.error_messages import one_line

ONE_SEQUENCE = ("GridSampler", "QMCSampler")
"""Samplers whose trials are drawn from one sequence, and need the same seed."""

PACKAGES = {"CmaEsSampler": "cmaes"}
"""What a sampler loads when it first draws."""


@dataclass
class LoradriftOptunaConf(OptunaSweeperConf):
    """Options of hydra-optuna-sweeper, with other defaults, and ours."""

    _target_: str = "loradrift.sweeping.LoradriftOptunaSweeper"
    direction: Any = None
    """``maximize`` or ``minimize``; null is whichever the task's metric wants."""

    storage: Any = None
    """``sqlite:///…`` or ``postgresql+psycopg://…``; null is one SQLite file per study, in the
    folder of the runs."""

    n_trials: int = 10
    """The number of trials in total: the same command goes on up to it."""

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


def validate_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are illegal or without effect; Hydra has judged the types alone."""
    key = "hydra.sweeper."
    for name in ("n_trials", "n_jobs", "heartbeat_s"):
        check(options[name] > 0, key + name, "positive", options[name])
    pruner, share = options["pruner"], options["max_failure_rate"]
    check(pruner in PRUNERS, f"{key}pruner", " or ".join(PRUNERS), pruner)
    check(0 <= share <= 1, f"{key}max_failure_rate", "in [0, 1]", share)
    direction, known = options["direction"], ("maximize", "minimize")
    check(direction in (None, *known), f"{key}direction", " or ".join(known), direction)
    heartbeat, grace = options["heartbeat_s"], options["grace_s"]
    check(grace > heartbeat, f"{key}grace_s", f"longer than {key}heartbeat_s={heartbeat}", grace)
    if (name := options["study_name"]) is not None:
        raise UserError(
            f"{key}study_name={name} has no effect: a search is called "
            "<study.name>/<task>/<method>, and study.name=… gives it another name"
        )


def validate_launcher(num_trials: int, in_process: bool, limit: int | None) -> None:
    """Refuse more trials at a time (``n_jobs``) than the launcher runs.

    One that is ``in_process`` runs its jobs one after the other; a ``limit`` of None is none.
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


def sampler_of_trial(sampler: DictConfig, index: int) -> Any:
    """The sampler of the ``index``-th trial.

    Its seed depends on the index: a resumed search draws what an uninterrupted one would.
    """
    import numpy as np

    seed = sampler.get("seed")
    if seed is not None:
        check_seed("hydra.sweeper.sampler.seed", seed)
    if seed is None or str(sampler["_target_"]).endswith(ONE_SEQUENCE):
        return make_sampler(sampler)
    [own] = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1)
    return make_sampler(DictConfig({**sampler, "seed": int(own)}))


def make_sampler(sampler: DictConfig) -> Any:
    """What the configuration says, of Optuna's own alone.

    Raises:
        UserError: If there is no such sampler, or it does not take these options.
    """
    if (number := sampler.get("n_startup_trials")) is not None:
        key = "hydra.sweeper.sampler.n_startup_trials"
        check(number >= 0, key, "0 or more", number)
    may_call = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
    name = str(sampler["_target_"]).rpartition(".")[2]
    if (package := PACKAGES.get(name)) and find_spec(package) is None:
        raise UserError(f"{name} needs the package {package}: pip install {package}")
    try:
        return instantiate(sampler, _execution_whitelist_=may_call)
    except (TypeError, ValueError, InstantiationException) as error:
        raise UserError(f"hydra.sweeper.sampler: {one_line(error)}") from error
