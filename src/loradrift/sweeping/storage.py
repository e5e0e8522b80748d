"""The Optuna storage: opened with clear errors, locked while a trial is claimed, kept alive."""

import hashlib
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from loradrift.config import UserError

warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with")
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

BUSY_S = 60
"""SQLite waits so long for another process's write before it calls the database locked."""


def open_storage(url: str, *, heartbeat_s: int = 15, grace_s: int = 120) -> RDBStorage:
    """Connect, making the tables (and SQLite's folder) where there are none.

    Args:
        url: ``sqlite:///…`` or ``postgresql+psycopg://…``, without a password.
        heartbeat_s: Seconds between two signs of life of a trial.
        grace_s: Seconds without one after which a trial is given up.

    Raises:
        UserError: If the URL is malformed, of another database, or holds a password; if the
            database is locked or cannot be reached.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        shown = url.partition("//")[0]  # what follows may hold a password
        raise UserError(
            f"hydra.sweeper.storage={shown}… is no URL, such as sqlite:///trials.db"
        ) from None
    key = f"hydra.sweeper.storage={url}"
    if "password" in parsed.query:
        raise UserError(
            f"hydra.sweeper.storage={url.partition('?')[0]}?… holds a password, which would be "
            "written into records: set PGPASSWORD, or put it into ~/.pgpass"
        )
    if parsed.password is not None:
        raise UserError(
            f"hydra.sweeper.storage={parsed.render_as_string()} holds a password, which would be "
            "written into records: set PGPASSWORD, or put it into ~/.pgpass"
        )
    if kind not in ("sqlite", "postgresql") or (kind == "sqlite" and not parsed.database):
        raise UserError(f"{key} must be a file, sqlite:///…, or a server, postgresql+psycopg://…")
    options = {}
    if kind == "sqlite":
        options = {"connect_args": {"timeout": BUSY_S}}
    try:
        if kind == "sqlite":
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        with _locked(parsed, "tables"):  # two workers must not make them at once
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat_s,
                grace_period=grace_s,
                heartbeat_stale_trial_callback=_retry(),
            )
    except (ImportError, NoSuchModuleError) as error:
        raise UserError(f"{key} needs a driver: pip install 'loradrift[cluster]'") from error
    except (OSError, SQLAlchemyError, RuntimeError) as error:
        raise UserError(f"{key} cannot be opened: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What the database itself said, in one line."""
    origin = getattr(error, "orig", None) or error.__cause__ or error
    return str(getattr(origin, "orig", None) or origin).strip().split("\n")[0]


def _retry() -> RetryHeartbeatStaleTrialCallback:
    # What the lost process had reported stays: its cell goes on from the last checkpoint.
    return RetryHeartbeatStaleTrialCallback(max_retry=1, inherit_intermediate_values=True)


@contextmanager
def claiming(storage: RDBStorage, study: str) -> Iterator[None]:
    """Keep other processes, and machines, from claiming a trial of the study meanwhile.

    The system frees the lock if this process dies.
    """
    with _locked(make_url(storage.url), study):
        yield


@contextmanager
def _locked(url: URL, name: str) -> Iterator[None]:
    if url.get_backend_name() == "sqlite":
        import fcntl

        with Path(f"{url.database}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:  # the lock lasts as long as its connection
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


def worker() -> str:
    """This process, as others may find it: ``host:pid:start``."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(named: str) -> bool:
    """Whether a :func:`worker` of this machine has ended; one of another machine is not judged."""
    if not named:
        return False
    host, pid, start = named.rsplit(":", 2)
    return host == socket.gethostname() and _start(int(pid)) != start


def _start(pid: int) -> str:
    """When a process began, in ticks since the machine did: numbers of processes come again."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "alive"
    return "gone"


def recover(study: optuna.Study, storage: RDBStorage) -> None:
    """Fail the trials whose process has ended, here at once and elsewhere after the grace period.

    Each is queued once more with the same parameters, and so in the same cell.
    """
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        if is_gone(trial.user_attrs.get("worker", "")):
            give_up(study, storage, trial.number)
    optuna.storages.fail_stale_trials(study)


def give_up(study: optuna.Study, storage: RDBStorage, number: int) -> None:
    """Fail a trial whose process was killed, and queue it once more."""
    trial_id = find_trial(storage, study.study_name, number)
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
        _retry()(study, storage.get_trial(trial_id))


def find_trial(storage: RDBStorage, study: str, number: int) -> int:
    """The storage's own number of a trial."""
    study_id = storage.get_study_id_from_name(study)
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)


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
