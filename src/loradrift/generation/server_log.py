"""What a server's log says of its failure, in one line."""

import re
from pathlib import Path

from loradrift.config import UserError
from loradrift.config.errors import EXCERPT
from loradrift.generation.errors import is_out_of_memory
from loradrift.generation.supervisor import Supervised

LAST_LINES = 6
"""Lines of a log that an error quotes."""

WIDEST = 2 * EXCERPT
"""Most characters of each."""

IDLE = (" ", "Traceback ", "[shutdown] ", "INFO: ")
"""How lines begin that only say where an error passed, or that a server is ending."""

ABOVE = " See stack trace (above) for the root cause."
"""What vLLM adds where the trace is in another process's log, or nowhere."""

GONE = re.compile("(engine core|worker proc.*) (exited|died) unexpectedly", re.IGNORECASE)
"""How a log says that a process below the server was ended from outside."""

KILLED = "a process of its engine was killed, or lacked memory"


def ended(process: Supervised) -> str:
    """How a process has ended, in words."""
    code = process.returncode
    if code is None:
        return "it does not answer any more"
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def failure(
    what: str, process: Supervised, log: Path | None, kind: type[UserError] = UserError
) -> UserError | MemoryError:
    """An error of one line: what failed, where the process's ``log`` is kept, and how it ends."""
    printed, what = process.printed(), what.replace(ABOVE, "")
    last, name = last_lines(printed), "its log" if log is None else f"its log {log}"
    made = MemoryError if is_out_of_memory(RuntimeError(last)) else kind
    if last:
        return made(f"{what}; {name} ends: {last}")
    return made(f"{what}; {name} {'holds no message' if printed.strip() else 'is empty'}")


def last_lines(log: str) -> str:
    r"""The cause that a server's log tells and its last lines, as one.

    >>> last_lines("(APIServer pid=7) INFO 05-12 10:11:12 [api.py:7] Started\n\nValueError: no")
    'Started | ValueError: no'
    """
    lines = [_bare(line) for line in log.splitlines()]
    lines = [line for line in lines if line]
    first = next((line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)), None)
    if (first is None or "EngineDeadError" in first) and GONE.search(log):
        first = KILLED  # the error only says that the engine does not answer
    last = lines[-LAST_LINES:]
    if first is not None and first not in last:
        last = [first, "…", *last[1:]]
    return " | ".join(line if len(line) <= WIDEST else f"{line[:WIDEST]}…" for line in last)


def _bare(line: str) -> str:
    """A line of vLLM's log without process, level, time and place; "" if it tells nothing."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = line.replace(ABOVE, "")
    line = re.sub(r"^\(\w+ pid=\d+\) ", "", line)
    line = re.sub(r"^[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^]]*\] ", "", line)
    return "" if line.startswith(IDLE) or "resource_tracker" in line else " ".join(line.split())
