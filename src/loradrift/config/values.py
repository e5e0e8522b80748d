"""What every value of a configuration has to be, whatever its key.

A path may begin with ``~`` and is never empty, a folder that is written stands below no file, a
number is finite, and a count is no larger than programs can count.
"""

import math
import os
from dataclasses import MISSING, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from loradrift.config.errors import UserError, check

LARGEST_SEED = 2**32 - 1
"""The largest seed that every generator takes."""

LARGEST_COUNT = 2**53
"""Numbers up to here are the same in every file and library."""

LONGEST_PART = 255
"""Most bytes of a file's or folder's name on the file systems in use."""

SQLITE = "sqlite:///"
"""What a storage's URL begins with if it is a file's."""


def path_field(default: Any = MISSING, **metadata: str) -> Any:
    """A field that holds a path; "" is legal only where it is the default."""
    return field(default=default, metadata={"path": True, **metadata})


def folder_field(default: str) -> Any:
    """A field that holds the path of a folder, which is made where it is not there yet."""
    return path_field(default, folder="made")


def check_seed(key: str, seed: int) -> None:
    """Refuse what is no seed: some generators draw the same from -1 as from 1."""
    check(0 <= seed <= LARGEST_SEED, key, "in [0, 2^32)", seed)


def expand_path(key: str, typed: str) -> str:
    """A path as typed for ``key``, with the user's home for ``~``.

    A storage's URL ``sqlite:///~/…`` is a path too.

    Raises:
        UserError: If it is empty, or names a user that there is not.

    >>> expand_path("runs", "runs")
    'runs'
    """
    parts = [len(os.fsencode(part)) for part in typed.split("/")]
    check(max(parts) <= LONGEST_PART, key, f"names of at most {LONGEST_PART} bytes", typed)
    kind, path = (SQLITE, typed.removeprefix(SQLITE)) if typed.startswith(SQLITE) else ("", typed)
    check(bool(path.strip()), key, "a path, not empty", repr(typed))
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UserError(f"{key}={typed}: there is no home of {path.partition('/')[0]}")
    return kind + expanded


def check_folder(key: str, path: str) -> None:
    """Refuse a folder that is to be written where a file stands, or below one."""
    there = next(each for each in (Path(path), *Path(path).absolute().parents) if each.exists())
    what = path if str(there) == path else f"{path}, below the file {there}"
    check(there.is_dir(), key, "a folder, or the name of a new one", what)


def refuse_filled_in(config: Any) -> None:
    """Refuse names that were typed although the program gives them: they would have no effect."""
    for key in ("variant", "earlier_variant", "start"):
        value = getattr(config, key, None)
        check(not value, key, "left out: it follows from what else is typed", value)


def judge_values(config: Any, prefix: str = "") -> None:
    """Expand the paths of a configuration in place, and refuse values that are of no use.

    Raises:
        UserError: If a path is empty, a number is not finite, or a count is too large.
    """
    if not prefix:
        refuse_filled_in(config)
    for each in fields(config):
        key, value = prefix + each.name, getattr(config, each.name)
        if is_dataclass(value):
            judge_values(value, f"{key}.")
        elif isinstance(value, str) and "path" in each.metadata:
            if value != each.default:
                setattr(config, each.name, expand_path(key, value))
            if "folder" in each.metadata:
                check_folder(key, getattr(config, each.name))
        elif isinstance(value, float):
            check(math.isfinite(value), key, "a finite number", value)
        elif isinstance(value, int):
            check(abs(value) <= LARGEST_COUNT, key, "at most 2^53", value)
