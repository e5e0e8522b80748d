"""Files that are either whole or absent."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it over ``path`` if the block succeeds.

    The block creates the file, or a folder where there is none yet: its permissions are what the
    user's umask says.

    Raises:
        OSError: If the disk is full or the folder cannot be written, with the name of ``path``;
            nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for written in (temporary, *temporary.rglob("*")):
            if not written.is_dir():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what git leaves where git-lfs has not fetched the file itself."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; a number that is not finite is a ValueError."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with write_atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The value of a JSON file; a ValueError says that it is none."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; a ValueError says that it is none."""
    saved = read_json(path)
    if not isinstance(saved, dict):
        raise ValueError(f"an object is expected, got {type(saved).__name__}")
    return saved
