"""Work that a study's test watches, kills and has fail; shared by the programs and their tests.

Below the runs, the file ``die`` names a cell or an analysis at which the process is killed, and
``fail`` cells that come to nothing.
"""

import os
import signal
from collections import Counter
from pathlib import Path

TIMES = {"wall_time_s": 2.0, "peak_memory_bytes": 1.0}


def begin(runs, folder):
    """Note that something begins, and die there if that is asked, once."""
    from loradrift.config import UserError

    name = str(Path(folder).relative_to(runs)) if Path(folder).is_relative_to(runs) else str(folder)
    Path(runs).mkdir(parents=True, exist_ok=True)
    with Path(runs, "begun.log").open("a") as log:
        log.write(f"{name}\n")
    fail, die = Path(runs, "fail"), Path(runs, "die")
    if fail.is_file() and fail.read_text() in name:
        raise UserError("no such luck")
    if die.is_file() and die.read_text() in name:
        die.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def begun(folder):
    """How often each cell and analysis has begun."""
    log = folder / "runs/begun.log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def records(folder):
    """The records of all cells."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("run.json"))
