"""Which trials are alive: a heartbeat from each, and what becomes of those without one."""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

HOLDERS = ("launcher", "worker")
"""Attributes of a trial that name the processes (:func:`worker`) that launched and that run it."""

INTERRUPTIONS = "interruptions"
"""Attribute of a trial: how often it, or the one that it is run again for, was asked to stop."""


def worker() -> str:
    """This process, as others may find it: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(worker: str) -> bool:
    """Whether a :func:`worker` of this machine has ended."""
    _, pid, start = worker.rsplit(":", 2)
    return _start(int(pid)) != start


def _start(pid: int) -> str:
    """When a process began, in ticks since the machine did: numbers of processes come again."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # a killed process stays on as a zombie where nobody asks how it ended
        return "gone" if fields[0] in "ZX" else fields[19]
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "alive"
    return "gone"


def recover(study: Study, storage: RDBStorage) -> None:
    """Fail the trials whose process has ended: here at once, elsewhere after the grace period.

    To be called while no other process can claim a trial of the study.
    """
    silent = storage._get_stale_trial_ids(study._study_id)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        holders = [trial.user_attrs[each] for each in HOLDERS if each in trial.user_attrs]
        hosts = {each.rsplit(":", 2)[0] for each in holders}
        here = [each for each in holders if each.rsplit(":", 2)[0] == socket.gethostname()]
        if not holders:  # its claim was not finished, and nobody is claiming now
            give_up(study, storage, trial, "its process ended while it took it up")
        elif not all(map(is_gone, here)):
            continue  # its launcher sees how the job ends, and the job records that itself
        elif len(here) == len(holders):
            give_up(study, storage, trial, "its process has ended")
        elif trial._trial_id in silent:
            elsewhere = " and ".join(sorted(hosts - {socket.gethostname()}))
            why = f"no heartbeat from {elsewhere} for more than {storage.grace_period} s"
            give_up(study, storage, trial, why)


def give_up(study: Study, storage: RDBStorage, trial: FrozenTrial | Trial, why: str) -> None:
    """Fail a trial whose process has ended, queue it once more, and say so.

    One that was killed before is not: its values may be what kills it. It does not count, so that a
    new trial takes its place. To be asked to stop is not to be killed.
    """
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        lost = storage.get_trial(trial._trial_id)
        if "error" in lost.user_attrs:
            return  # it had failed by itself, and its process was killed over noting that
        what = f"was lost ({why}); it is queued once more, with the same values"
        interrupted = was_interrupted(lost, study.get_trials(deepcopy=False))
        if not _retry(study, lost):
            before = f"so was trial {retried(lost)} with the same values"
            what = f"was lost ({why}); {before}, and a new trial takes its place"
        elif interrupted:
            what = "was interrupted; it goes on, with the same values"
        print(f"search {study.study_name}: trial {trial.number} {what}", flush=True)


def note_interruption(storage: RDBStorage, trial_id: int) -> None:
    """Note that a trial was asked to stop: its values are not what ended it."""
    before = storage.get_trial(trial_id).user_attrs.get(INTERRUPTIONS, 0)
    storage.set_trial_user_attr(trial_id, INTERRUPTIONS, before + 1)


def was_interrupted(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a trial itself was asked to stop, and not only one that it is run again for."""
    before = trial.system_attrs.get("retry_history", [])[-1:]
    inherited = sum(trials[number].user_attrs.get(INTERRUPTIONS, 0) for number in before)
    return bool(trial.user_attrs.get(INTERRUPTIONS, 0) > inherited)


def _retry(study: Study, lost: FrozenTrial) -> bool:
    """Queue a trial once more, unless it was killed before; whether it is queued."""
    allowed = 1 + lost.user_attrs.get(INTERRUPTIONS, 0)
    queued: bool = len(lost.system_attrs.get("retry_history", [])) < allowed
    # What the lost process had reported stays: its cell goes on from the last checkpoint.
    again = RetryHeartbeatStaleTrialCallback(max_retry=allowed, inherit_intermediate_values=True)
    lost.user_attrs = {key: value for key, value in lost.user_attrs.items() if key not in HOLDERS}
    again(study, lost)
    return queued


def retried(trial: FrozenTrial) -> int | None:
    """Number of the lost trial that this one is run again for."""
    return trial.system_attrs.get("failed_trial")


@contextmanager
def heartbeat(storage: RDBStorage, trial_id: int) -> Iterator[None]:
    """Show that a trial is alive while the block runs."""
    done = threading.Event()

    def beat() -> None:
        while True:
            with suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
                storage.record_heartbeat(trial_id)  # a busy database may miss one
            if done.wait(storage.heartbeat_interval):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
