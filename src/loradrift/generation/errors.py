"""What libraries raise, as the one line or the MemoryError that callers expect."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loradrift.config import UserError
from loradrift.config.errors import EXCERPT


class EngineEnded(UserError):
    """An engine that has answered before is gone: what was killed can be started again."""


class AdapterVanished(UserError):
    """The files of an adapter that an engine serves are gone."""


def refuse_absent(name: str, folder: Path) -> None:
    """Raise an :class:`AdapterVanished` if an adapter has no folder."""
    if not folder.is_dir():
        raise AdapterVanished(f"adapter {name}: there is no folder {folder}")


LONGEST = 4 * EXCERPT
"""Most characters of a library's line in a message."""

LACKS_MEMORY = (
    "can't allocate memory", "out of memory", "Cannot allocate memory",
    "Available memory on node", "Free memory on device",
)  # fmt: skip
"""What torch, the system and vLLM say where memory is too little."""


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """An error becomes one line that begins with ``what``, or a MemoryError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        kind = MemoryError if is_out_of_memory(error) else UserError
        raise kind(f"{what}: {reason(error)}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, of this machine or of its GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in LACKS_MEMORY)


def reason(error: BaseException) -> str:
    """The line of an error that says what is wrong; pydantic's first one only counts."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    says = [line for line in lines if line.startswith(("Value error, ", "Assertion failed, "))]
    line = (says or lines or [type(error).__name__])[0]
    line = line.removeprefix("Value error, ").partition(" [type=")[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
