"""What is made once: by the first process that needs it, for every later one."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from loradrift.files import read_json, sha256_of, write_atomic, write_json
from loradrift.locks import locked

T = TypeVar("T")


def entry(folder: Path, key: object, suffix: str = "") -> Path:
    """Path of a cache entry, named by a digest of its key: everything that the entry depends on.

    A key is text, or values that JSON can hold.

    >>> entry(Path("tokens"), {"rows": "ab12", "max_length": 64}, ".arrow")
    PosixPath('tokens/946c481cd714916ef559806c018ff1cd.arrow')
    """
    text = key if isinstance(key, str) else json.dumps(key, sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{suffix}"


def recall(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a cache entry; None if it is absent, or with a warning if it is damaged.

    >>> recall(Path("absent.json"), Path.read_text) is None
    True
    """
    found, damage = _attempt(path, read)
    if damage:
        warnings.warn(f"{path} is damaged ({damage}): it is made again", stacklevel=2)
    return found


def _attempt(path: Path, read: Callable[[Path], T]) -> tuple[T | None, str]:
    """What an entry holds, and why it is damaged; None and "" of one that is absent."""
    try:
        return read(path), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, LookupError) as error:  # pyarrow's errors are ValueErrors
        return None, str(error).split("\n")[0] or type(error).__name__


def cached(path: Path, make: Callable[[Path], object], read: Callable[[Path], T]) -> T:
    """Read a cache entry, which is made first if it is absent or damaged.

    An entry, a file or a folder, is whole or absent. Of several processes that need the same one,
    one makes it and the others wait; a process that dies lets the next one make it.

    Args:
        path: The entry, which :func:`entry` can name.
        make: Writes the entry to the temporary path that it is given.
        read: Raises OSError, ValueError or LookupError if what the entry holds is damaged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cached(Path(folder, "a.txt"), lambda path: path.write_text("made"), Path.read_text)
    'made'
    """
    found = recall(path, read)
    if found is not None:
        return found
    with locked(Path(f"{path}.lock")):
        found, _ = _attempt(path, read)  # another process may have made it meanwhile
        if found is None:
            if path.is_dir():  # no folder can be renamed to one that holds something
                shutil.rmtree(path)
            with write_atomic(path) as temporary:
                make(temporary)
            found = read(path)
    return found


def folder_with(name: str) -> Callable[[Path], Path]:
    """A ``read`` of :func:`cached` that gives the entry's own path: a folder that holds ``name``.

    >>> cached(Path("/"), Path.mkdir, folder_with("."))
    PosixPath('/')
    """

    def read(path: Path) -> Path:
        (path / name).stat()
        return path

    return read


def file_digest(path: Path, cache: Path) -> str:
    """sha256 of a file, taken once and remembered by its name, size and times of change.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("made")
    ...     file_digest(Path(folder, "a.txt"), Path(folder))[:12]
    'ea0890697a77'
    """
    stat = path.stat()
    # st_mtime is what `cp -p` and `rsync -t` put back, st_ctime is the system's own. A fresh hash
    # would cost seconds per GB for each cell of a study, and again when each starts
    key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"

    def hash_file(temporary: Path) -> None:
        write_json(temporary, {"sha256": sha256_of(path)})

    known = entry(cache / "digests", key, ".json")
    return cached(known, hash_file, lambda written: str(read_json(written)["sha256"]))
