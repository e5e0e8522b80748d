"""Files that are either whole or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it over ``path`` if the block succeeds.

    Raises:
        OSError: If the disk is full or the folder cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide runs from the rest of the group
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Raises:
        ValueError: If a number is not finite: JSON has no NaN, and null says it better.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    with write_atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
