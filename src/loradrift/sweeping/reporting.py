"""What a run says to its trial, and what the pruner answers."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from loradrift.sweeping.storage import StorageUnusable, open_trial, reason

PARTS = 20
"""Trials are compared after each such part of a run: their steps differ with their batches."""

LEAST = 5
"""Parts that Hyperband and successive halving give to each trial."""


class Reporter:
    """Reports one trial's scores to Optuna.

    A trial's value after a part of its run is its last validation by then, so that trials are
    compared where they have used the same share of what they have, however many steps that is.
    The run's folder, ``cell``, is noted in the trial.
    """

    def __init__(self, search: SearchConfig, cell: Path, *, total_steps: int) -> None:
        assert search.storage and search.study and search.trial is not None
        self.search, self.trial = search, search.trial
        self.cell, self.total_steps = cell, total_steps
        self.pruner = make_pruner(search)

    def ends(self, step: int, value: float) -> bool:
        """Report ``value`` after ``step``; whether the trial is to end, which is then recorded."""
        with self._reached():
            return self._ends(step, value)

    def end(self) -> None:
        """Record that the trial ends here, whatever the pruner says."""
        with self._reached():
            self._opened[1].tell(self.trial, state=TrialState.PRUNED, skip_if_finished=True)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say of an error of the storage which storage it is."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            key = f"hydra.sweeper.storage={self.search.storage}"
            raise StorageUnusable(f"{key}: {reason(error)}") from error

    def _ends(self, step: int, value: float) -> bool:
        storage, study, trial_id = self._opened
        part = step * PARTS // self.total_steps
        known = storage.get_trial(trial_id).intermediate_values
        before = max(known, default=part)
        for missed in range(before + 1, part):
            storage.set_trial_intermediate_value(trial_id, missed, known[before])
        storage.set_trial_intermediate_value(trial_id, part, value)
        if part >= PARTS or not self.pruner.prune(study, storage.get_trial(trial_id)):
            return False
        study.tell(self.trial, state=TrialState.PRUNED)
        return True

    @cached_property
    def _opened(self) -> tuple[RDBStorage, optuna.Study, int]:
        storage, trial_id = open_trial(self.search)
        storage.set_trial_user_attr(trial_id, "cell", str(self.cell))
        study = optuna.load_study(study_name=self.search.study, storage=storage)
        return storage, study, trial_id


def make_pruner(search: SearchConfig) -> BasePruner:
    """The pruner that ``search.pruner`` names, for reports in :data:`PARTS`."""
    match search.pruner:
        case "median":
            return pruners.MedianPruner(n_startup_trials=search.full_trials)
        case "hyperband":
            return pruners.HyperbandPruner(LEAST, PARTS, reduction_factor=3)
        case "successive_halving":
            return pruners.SuccessiveHalvingPruner(LEAST, reduction_factor=2)
        case _:
            return pruners.NopPruner()
