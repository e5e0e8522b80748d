"""A trial in its job's own process: it shows that it is alive, and says how it ended."""

import math
from contextlib import ExitStack, suppress
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from loradrift.error_messages import one_line


def has_ended(config: DictConfig) -> bool:
    """Whether the trial of a job ended before the job began; a job without a trial has none.

    A job that waits in a queue outlives its search. Begun again, that gives the trial up, and runs
    it in another job.
    """
    search = config.search if "search" in config else None  # a benchmark's has none
    if search is None or search.trial is None:
        return False
    from loradrift.sweeping.storage import StorageUnusable, open_trial

    with suppress(StorageUnusable):  # the job itself says so
        storage, trial_id = open_trial(search)
        return storage.get_trial(trial_id).state.is_finished()
    return False


class TrialCallback(Callback):
    """Hydra's hooks around a job; for jobs that are no trial of a search they do nothing."""

    def __init__(self) -> None:
        self._alive = ExitStack()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Take the trial over from the sweeper, which may be on another machine."""
        if config.search.trial is None:
            return
        from loradrift.sweeping.recovery import heartbeat, worker
        from loradrift.sweeping.storage import open_trial

        timing = {key: config.hydra.sweeper[key] for key in ("heartbeat_s", "grace_s")}
        storage, trial_id = open_trial(config.search, **timing)
        storage.set_trial_user_attr(trial_id, "worker", worker())
        self._alive.enter_context(heartbeat(storage, trial_id))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Record the value, or the failure; a pruned trial has recorded itself."""
        if config.search.trial is None:
            return
        self._alive.close()
        outcome = job_return._return_value
        import optuna
        from optuna.exceptions import StorageInternalError
        from optuna.trial import TrialState
        from sqlalchemy.exc import SQLAlchemyError

        from loradrift.sweeping.recovery import note_interruption
        from loradrift.sweeping.storage import StorageUnusable, open_trial

        # Hydra's entry point raises an exception of its own over what happened.
        happened = getattr(outcome, "__context__", None) or outcome
        from_outside = (SQLAlchemyError, StorageInternalError, StorageUnusable)
        interrupted = isinstance(outcome, BaseException) and not isinstance(outcome, Exception)
        if isinstance(happened, from_outside) and not interrupted:
            return  # the values are not to blame: the trial is run again, and its cell goes on

        search = config.search
        storage, trial_id = open_trial(search)
        if interrupted:
            note_interruption(storage, trial_id)
            return
        study = optuna.load_study(study_name=search.study, storage=storage)
        scored = job_return.status is JobStatus.COMPLETED and outcome is not None
        if scored and math.isfinite(outcome):
            study.tell(search.trial, float(outcome), skip_if_finished=True)
            return
        if storage.get_trial(trial_id).state.is_finished():
            return
        error = one_line(outcome) if isinstance(outcome, Exception) else f"its score is {outcome}"
        storage.set_trial_user_attr(trial_id, "error", error)
        study.tell(search.trial, state=TrialState.FAIL, skip_if_finished=True)
