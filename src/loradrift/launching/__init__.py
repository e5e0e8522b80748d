"""Launchers for multiruns in other processes; a job that dies takes no other job with it.

Hydra's own for joblib and submitit give up the whole multirun when a job's process is killed.
"""

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from loradrift.launching.config import SCHEMAS
from loradrift.launching.multirun import Multirun, MultirunConf
from loradrift.launching.processes import JoblibLauncher
from loradrift.launching.scheduler import LocalLauncher, SlurmLauncher


def register_multirun() -> None:
    """Make ``-m`` do every job, one after the other, whatever becomes of the others."""
    Plugins.instance().register(Multirun)
    store = ConfigStore.instance()
    store.store(group="hydra/sweeper", name="basic", node=MultirunConf, replace=True)  # Hydra's


def register() -> None:
    """Make launchers and multiruns known to Hydra, and the schemas to ``conf/hydra/launcher/``.

    The options are files there, which come before what Hydra's own packages register by the same
    names, in every process.
    """
    register_multirun()
    store = ConfigStore.instance()
    for plugin in (JoblibLauncher, LocalLauncher, SlurmLauncher):
        Plugins.instance().register(plugin)
    for name, schema in SCHEMAS.items():
        store.store(group="schema/launcher", name=name, node=schema)
