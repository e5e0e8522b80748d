"""What a run says to its trial, and what the pruner answers."""

from functools import cached_property
from pathlib import Path

import optuna
from optuna import pruners
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from loradrift.config import SearchConfig
from loradrift.sweeping.storage import StorageUnusable, find_trial, open_storage, reason


class Reporter:
    """Of one trial.

    Args:
        search: Names the trial and its pruner.
        cell: The run's folder, noted in the trial.
        total_steps: Optimizer steps of a whole run.
        interval: Optimizer steps between two reports.
    """

    def __init__(
        self, search: SearchConfig, cell: Path, *, total_steps: int, interval: int
    ) -> None:
        assert search.storage and search.study and search.trial is not None
        self.storage, self.study, self.trial = search.storage, search.study, search.trial
        self.cell = cell
        self.total_steps = total_steps
        self.pruner = make_pruner(search, interval, total_steps)

    def ends(self, step: int, value: float) -> bool:
        """Report ``value`` at ``step``; whether the trial is to end, which is then recorded.

        Raises:
            StorageUnusable: If it is locked or away.
        """
        try:
            return self._ends(step, value)
        except (SQLAlchemyError, StorageInternalError) as error:
            raise StorageUnusable(
                f"hydra.sweeper.storage={self.storage}: {reason(error)}"
            ) from error

    def _ends(self, step: int, value: float) -> bool:
        storage, study, trial_id = self._opened
        storage.set_trial_intermediate_value(trial_id, step, value)
        last = step >= self.total_steps
        if last or not self.pruner.prune(study, storage.get_trial(trial_id)):
            return False
        study.tell(self.trial, state=TrialState.PRUNED)
        return True

    @cached_property
    def _opened(self) -> tuple[RDBStorage, optuna.Study, int]:
        storage = open_storage(self.storage)
        trial_id = find_trial(storage, self.study, self.trial)
        storage.set_trial_user_attr(trial_id, "cell", str(self.cell))
        return storage, optuna.load_study(study_name=self.study, storage=storage), trial_id


def make_pruner(search: SearchConfig, interval: int, total_steps: int) -> BasePruner:
    """The pruner that ``search.pruner`` names.

    Args:
        search: Names it.
        interval: Optimizer steps between two reports: the least that a trial gets.
        total_steps: Optimizer steps of a whole trial.
    """
    match search.pruner:
        case "median":
            return pruners.MedianPruner(n_startup_trials=search.full_trials)
        case "hyperband":
            return pruners.HyperbandPruner(interval, total_steps, reduction_factor=3)
        case "successive_halving":
            return pruners.SuccessiveHalvingPruner(interval, reduction_factor=2)
        case _:
            return pruners.NopPruner()
