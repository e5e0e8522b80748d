"""What the jobs of a command came to: a note of each, and one table when all have ended."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from loradrift.cli.entry_point import JobFailed, located, say
from loradrift.cli.resolved_config import resolve_config
from loradrift.cli.run_table import print_closing_table
from loradrift.config import UserError
from loradrift.error_messages import one_line
from loradrift.files import read_json, write_json
from loradrift.runs import record_loss


def note_finished(folder: Path, cells: Sequence[Path]) -> None:
    """Have a sweep's closing table show cells that needed no job."""
    notes = [{"name": str(cell), "cell": str(cell), "error": None} for cell in cells]
    number = len(list(folder.glob("done=*.json")))
    write_json(folder / f"done={number}.json", notes)


class ClosingTable(Callback):
    """Hydra's hooks: note each job as it ends, and print the table at the end.

    Jobs may run in other processes (joblib, SLURM), so the notes are files in the sweep's folder.
    A study notes there too which cells it skipped (:func:`note_finished`).
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how a job ended; runs in the job's own process."""
        note = _note(config, job_return)
        if config.hydra.mode is RunMode.MULTIRUN:
            write_json(note_path(Path(config.hydra.sweep.dir), config.hydra.job.num), note)
        elif note["error"] is None:  # what went wrong with a single run has been said
            print_closing_table([note])

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what the jobs came to; runs in the process the user started."""
        folder = Path(config.hydra.sweep.dir)
        notes = [note for path in sorted(folder.glob("done=*.json")) for note in read_json(path)]
        notes += [read_json(path) for path in sorted(folder.glob("job=*.json"))]
        if notes:
            print_closing_table(notes)


def _note(config: DictConfig, job_return: JobReturn) -> dict[str, Any]:
    overrides = list(config.hydra.overrides.task)
    note: dict[str, Any] = {"name": " ".join(overrides), "cell": None, "error": None}
    if isinstance(job_return._return_value, BaseException):
        note["error"] = one_line(job_return._return_value)
    with suppress(UserError, OmegaConfBaseException):
        assert job_return.cfg is not None
        judged = resolve_config(job_return.cfg, overrides)
        note |= {"name": judged.cell_name, "cell": str(judged.cell)}
    return note


def note_path(folder: Path, number: int) -> Path:
    """Where a sweep's folder has the note of a job."""
    return folder / f"job={number:04d}.json"


def note_loss(config: DictConfig, job_return: JobReturn, reason: str) -> None:
    """Say, note and record that a job's process ended without a word; ``job_return`` has failed."""
    told = note_path(Path(config.hydra.sweep.dir), config.hydra.job.num)
    if told.exists() and (error := read_json(told)["error"]):
        reason = error  # the job had still noted how it ended
    job_return.return_value = JobFailed(reason)
    job_return.status = JobStatus.FAILED
    note = _note(config, job_return)
    write_json(told, note)
    say(located(reason, note["name"]))
    if note["cell"] is not None:
        record_loss(Path(note["cell"]), reason)
