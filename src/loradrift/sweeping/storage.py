"""The Optuna storage: opened with clear errors, and locked while a trial is claimed."""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from loradrift.config import UserError
from loradrift.locks import locked

warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with")
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

BUSY_S = 60
"""SQLite waits so long for another process's write before it calls the database locked."""

CONNECT_S = 8
"""Seconds a server has to answer, where ``PGCONNECT_TIMEOUT`` says nothing."""


class StorageUnusable(UserError):
    """The storage cannot be opened now; it may be later."""


def open_storage(url: str, *, heartbeat_s: int = 15, grace_s: int = 120) -> RDBStorage:
    """Connect, making the tables (and SQLite's folder) where there are none.

    Raises:
        UserError: If the URL is refused (:func:`read_url`).
        StorageUnusable: If the database is locked or cannot be reached.
    """
    parsed = read_url("hydra.sweeper.storage", url)
    kind, key = parsed.get_backend_name(), f"hydra.sweeper.storage={url}"
    try:
        if kind == "sqlite":
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        with claiming(parsed, "tables"):  # two workers must not make them at once
            options = engine_options(parsed)
            storage = RDBStorage(url, options, heartbeat_interval=heartbeat_s, grace_period=grace_s)
        if kind == "postgresql":
            event.listen(storage.engine, "connect", _in_utc)
            storage.engine.dispose()  # the connections that are there already
        return storage
    except (ImportError, NoSuchModuleError) as error:
        raise UserError(f"{key} needs a driver: pip install '.[cluster]'") from error
    except (OSError, SQLAlchemyError, RuntimeError) as error:
        why = reason(error)
        raise StorageUnusable(f"{key} cannot be opened: {why}{hint(parsed, why)}") from error


def read_url(key: str, url: str) -> URL:
    """Judge the URL of a storage, typed as ``key``, and never show a password.

    Raises:
        UserError: If it is malformed, of another database, or holds a password.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        parsed = None
    # with a slash too many or too few, what was meant as password and host is read as the database
    if parsed is None or (kind != "sqlite" and "@" in (parsed.database or "")):
        shown = url.partition(":")[0]  # what follows may hold a password
        raise UserError(f"{key}={shown}… is no URL, such as sqlite:///trials.db")
    shown = parsed.render_as_string()
    in_query = any("password" in name.casefold() for name in parsed.query)
    if in_query:
        shown = f"{shown.partition('?')[0]}?…"
    if in_query or parsed.password is not None:
        raise UserError(
            f"{key}={shown} holds a password, which records and shells would keep: set PGPASSWORD, "
            "or put it into ~/.pgpass"
        )
    if kind not in ("sqlite", "postgresql") or (kind == "sqlite" and not parsed.database):
        rule = "a file, sqlite:///…, or a server, postgresql+psycopg://…"
        raise UserError(f"{key}={shown} must be {rule}")
    return parsed


def engine_options(url: URL) -> dict[str, Any]:
    """SQLAlchemy's for a storage: how long it waits, and for what."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": BUSY_S}}
    options: dict[str, Any] = {"pool_pre_ping": True}  # the server may have restarted
    if "connect_timeout" not in url.query and "PGCONNECT_TIMEOUT" not in os.environ:
        # the system itself gives up on an address that does not answer after minutes
        options["connect_args"] = {"connect_timeout": CONNECT_S}
    return options


def hint(url: URL, why: str) -> str:
    """What to do about a storage that cannot be used, where ``why``, its own words, do not say."""
    if url.get_backend_name() == "sqlite":
        again = f" by another process, for {BUSY_S} s and more: once that ends, try again"
        return again if why == "database is locked" else ""
    address = f"{url.host}:{url.port or 5432}" if url.host else "it"
    return (
        f"; is the server up, may this machine reach {address}, and is its password in PGPASSWORD "
        "or ~/.pgpass?"
    )


def _in_utc(connection: Any, _: object) -> None:
    """Signs of life are kept without their time zone: a session in another would be hours off."""
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def reason(error: BaseException) -> str:
    """What the database itself, or the file system, said, in one line."""
    if isinstance(error, OSError):
        return str(error)
    origin = getattr(error, "orig", None) or error.__cause__ or error
    return str(getattr(origin, "orig", None) or origin).strip().split("\n")[0]


@contextmanager
def claiming(storage: str | URL, name: str) -> Iterator[None]:
    """Keep other processes, and machines, from claiming a trial of the search meanwhile.

    The system frees the lock if this process dies.
    """
    url = make_url(storage)
    waits = f"still waiting for the storage's lock ({name}), which another process holds"
    impatient = threading.Timer(BUSY_S, print, [waits], {"flush": True})
    impatient.daemon = True
    impatient.start()
    try:
        in_file = url.get_backend_name() == "sqlite"
        with locked(Path(f"{url.database}.lock")) if in_file else _server_lock(url, name):
            impatient.cancel()
            yield
    finally:
        impatient.cancel()


@contextmanager
def _server_lock(url: URL, name: str) -> Iterator[None]:
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    wait = engine_options(url).get("connect_args", {})
    engine = create_engine(url, poolclass=NullPool, connect_args=wait)
    with engine.connect() as connection:  # the lock lasts as long as its connection
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


def open_trial(search: Any, **timing: int) -> tuple[RDBStorage, int]:
    """The storage of the trial that a job is (``search`` names it), and its own number in it."""
    storage = open_storage(search.storage, **timing)
    study_id = storage.get_study_id_from_name(search.study)
    return storage, storage.get_trial_id_from_study_id_trial_number(study_id, search.trial)
