"""Work that a study's test watches, kills and has fail; shared by the programs and their tests.

Below the runs, the file ``die`` names a cell or an analysis at which the process is killed, and
``fail`` cells that come to nothing.
"""

import os
import signal
import sys
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


def begin_bases(cells, cache):
    """Note that the base models are made, of cells of which some are left; none is."""
    from loradrift.study.bases import make_bases

    if not all(cell.record for cell in cells):
        begin(cells[0].config.runs, "base")
    make_bases(cells, cache, made=True)


def begun(folder):
    """How often each cell and analysis has begun."""
    log = folder / "runs/begun.log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def records(folder):
    """The records of all cells."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("run.json"))


def instead(typed, override):
    """The overrides, with ``override`` replacing the one of the same key."""
    key = override.partition("=")[0]
    return [*(each for each in typed if not each.startswith(f"{key}=")), override]


def kill_at(app, typed, folder, place):
    """Run a program below ``folder`` until it is killed at ``place``, which it must reach."""
    from fork_server import ForkedProcess

    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs/die").write_text(place)
    path = os.pathsep.join([str(app.parent), os.environ.get("PYTHONPATH", "")])
    process = ForkedProcess([sys.executable, str(app), *typed], folder, {"PYTHONPATH": path})
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (folder / "runs/die").exists(), place
