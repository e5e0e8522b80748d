"""Optuna sweeps that prune, resume and share their work: ``hydra/sweeper=loradrift_optuna``."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from loradrift.config import UserError
from loradrift.sweeping.options import LearningTPEConf, LoradriftOptunaConf, validate_options


class LoradriftOptunaSweeper(Sweeper):
    """``hydra/sweeper=loradrift_optuna``, which loads Optuna only when it sweeps."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Make the sweep; refuse illegal options, and a listing."""
        validate_options(self.options)
        if config.study.dry_run:  # a study keeps it from its searches
            raise UserError("study.dry_run=true lists a study (study=drift -m), and no search")
        from loradrift.sweeping.sweep import SearchSweep

        self.search = SearchSweep(**self.options)
        self.search.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that are left."""
        self.search.sweep(arguments)


def register() -> None:
    """Make the sweeper and its sampler known to Hydra."""
    Plugins.instance().register(LoradriftOptunaSweeper)
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="loradrift_optuna", node=LoradriftOptunaConf)
    store(group="hydra/sweeper/sampler", name="tpe", node=LearningTPEConf, replace=True)
