"""The sampler of each trial, made from its configuration."""

from importlib.util import find_spec
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from loradrift.config import UserError, check
from loradrift.error_messages import one_line

ONE_SEQUENCE = ("GridSampler", "QMCSampler")
"""Samplers whose trials are drawn from one sequence, and need the same seed."""


PACKAGES = {"CmaEsSampler": "cmaes"}
"""What a sampler loads when it first draws."""


def sampler_of_trial(sampler: DictConfig, index: int) -> Any:
    """The sampler of the ``index``-th trial.

    Its seed depends on the index: a resumed search draws what an uninterrupted one would.
    """
    seed = sampler.get("seed")
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
