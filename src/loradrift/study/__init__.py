"""Whole studies, phase by phase: ``hydra/sweeper=loradrift_study``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from loradrift.config import UserError
from loradrift.config.schemas import open_schema
from loradrift.sweeping.options import LoradriftOptunaConf, validate_options


@dataclass
class LoradriftStudyConf(LoradriftOptunaConf):
    """Options of the study's searches; what to run is said by ``study.*``."""

    _target_: str = "loradrift.study.LoradriftStudySweeper"


class LoradriftStudySweeper(Sweeper):
    """``hydra/sweeper=loradrift_study``, which loads what a study needs only when it sweeps."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Keep what Hydra says of the program, and refuse illegal options of its searches."""
        from loradrift.study.hydra_program import Program

        validate_options(self.options)
        if any(each.startswith("hydra.sweeper.n_trials") for each in config.hydra.overrides.hydra):
            raise UserError("hydra.sweeper.n_trials has no effect on a study: type study.trials=…")
        self.program = Program(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the phases that are left."""
        from loradrift.study.runner import run_study

        run_study(self.program, arguments)


def register() -> None:
    """Make the sweeper known to Hydra, and the schemas of studies with keys of their own."""
    from loradrift.study.frontier import FrontierStudyConfig
    from loradrift.study.persona import PersonaStudyConfig
    from loradrift.study.reconstruction import ReconstructionStudyConfig
    from loradrift.study.sequence import SequenceStudyConfig

    Plugins.instance().register(LoradriftStudySweeper)
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="loradrift_study", node=LoradriftStudyConf)
    store(group="schema/study", name="frontier", node=FrontierStudyConfig)
    store(group="schema/study", name="persona", node=open_schema(PersonaStudyConfig))
    store(group="schema/study", name="reconstruction", node=ReconstructionStudyConfig)
    store(group="schema/study", name="sequence", node=SequenceStudyConfig)
