"""Launchers for multiruns in other processes; a job that dies takes no other job with it.

Hydra's own for joblib and submitit give up the whole multirun when a job's process is killed.
"""

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from loradrift.launching.config import SCHEMAS
from loradrift.launching.processes import JoblibLauncher
from loradrift.launching.scheduler import LocalLauncher, SlurmLauncher

__all__ = ["JoblibLauncher", "LocalLauncher", "SlurmLauncher", "register"]


def register() -> None:
    """Make the launchers known to Hydra, and their schemas to ``conf/hydra/launcher/``.

    The options are files there, which come before what Hydra's own packages register by the same
    names, in every process.
    """
    store = ConfigStore.instance()
    for launcher in (JoblibLauncher, LocalLauncher, SlurmLauncher):
        Plugins.instance().register(launcher)
    for name, schema in SCHEMAS.items():
        store.store(group="schema/launcher", name=name, node=schema)
