"""Locks between processes; the system frees one when its process dies, however that happens."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LOCKS = (
    "cannot be locked: its folder (runs=…, cache=…) must be on a file system with file locks, such "
    "as a local disk"
)

POLL_S = 0.1
"""Seconds between two looks at a lock that another process holds."""


@contextmanager
def locked(path: Path, on_busy: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a file's lock while the block runs; the file itself stays empty, and stays.

    Never a soft lock, which is a file that outlives a process that was killed. If another process
    holds the lock, ``on_busy`` is called once, and unless it raises the wait begins.

    Raises:
        OSError: If the file system, or the platform, has no locks.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    if issubclass(FileLock, SoftFileLock):  # what filelock falls back to on such a platform
        raise OSError(errno.ENOSYS, "this platform has no file locks", str(path))
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if on_busy is not None:
                on_busy()
            lock.acquire(poll_interval=POLL_S)
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, f"{NO_LOCKS} ({error.strerror})", str(path)) from error
    try:
        yield
    finally:
        lock.release()
