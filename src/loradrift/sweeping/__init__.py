"""Optuna sweeps that prune, resume and share their work: ``hydra/sweeper=loradrift_optuna``."""

from loradrift.sweeping.plugin import register

__all__ = ["register"]
