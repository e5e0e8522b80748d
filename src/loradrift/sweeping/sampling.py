"""The sampler of each trial, made from its configuration."""

from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

ONE_SEQUENCE = ("GridSampler", "QMCSampler")
"""Samplers whose trials are drawn from one sequence, and need the same seed."""


def sampler_of_trial(sampler: DictConfig, index: int) -> Any:
    """The sampler of the ``index``-th trial.

    Its seed depends on the index: a resumed search draws what an uninterrupted one would.
    """
    seed = sampler.get("seed")
    if seed is None or str(sampler["_target_"]).endswith(ONE_SEQUENCE):
        return make_sampler(sampler)
    [own] = np.random.SeedSequence([seed, index]).generate_state(1)
    return make_sampler(DictConfig({**sampler, "seed": int(own)}))


def make_sampler(sampler: DictConfig) -> Any:
    """What the configuration says, of Optuna's own alone."""
    may_call = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
    return instantiate(sampler, _execution_whitelist_=may_call)
