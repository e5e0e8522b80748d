"""What the jobs of a command came to: a note of each, and one table when all have ended."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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
from loradrift.config import UserError
from loradrift.config.job_names import own_overrides, shared_keys, shown_name
from loradrift.config.tasks import percent
from loradrift.config.variants import varied
from loradrift.error_messages import one_line
from loradrift.files import read_json, write_json
from loradrift.runs import RunRecord, Status, read_record, record_loss
from loradrift.runs.start_names import AFTER

COLUMNS = ("task", "method", "seeds", "metric", "trainable", "tokens/s", "peak memory", "wall time")


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
    shared = shared_keys(config.hydra)
    name = " ".join(own_overrides(overrides, shared))
    note: dict[str, Any] = {"name": name, "cell": None, "error": None}
    if isinstance(job_return._return_value, BaseException):
        note["error"] = one_line(job_return._return_value)
    with suppress(UserError, OmegaConfBaseException):
        assert job_return.cfg is not None
        judged = resolve_config(job_return.cfg, overrides)
        name = shown_name(judged, overrides, shared)
        note |= {"name": name, "cell": str(judged.cell)}
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


def print_closing_table(notes: Sequence[dict[str, Any]]) -> None:
    """Print one row per task, method and variant, then which jobs diverged or failed, and why.

    Args:
        notes: ``name`` (of its cell, or its overrides where it has none), ``cell`` (the folder or
            null) and ``error`` of each job.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no edge to fold at
    cells = dict.fromkeys(note["cell"] for note in notes if note["cell"])  # each once
    found = {cell: _record(Path(cell)) for cell in cells}
    records = list(found.values())
    done = [record for record in records if record and record.status is Status.SUCCESS]
    if done:
        shared = set.intersection(*map(_variant, done))  # they tell no row from another
        caption = escape(f"all with {' '.join(sorted(shared))}") if shared else None
        table = Table(*COLUMNS, title="Finished runs", caption=caption)
        for row in summary_rows(done, shared):
            table.add_row(*map(escape, row))  # [q_proj] is no markup
        console.print(table)
    for status in (Status.PRUNED, Status.COLLAPSED):
        if ended := sum(record is not None and record.status is status for record in records):
            console.print(f"{ended} of {len(records)} runs {status}")
    alarmed = [each.collapse["cause"] for each in records if each and each.collapse.get("alarms")]
    if alarmed:
        causes = ", ".join(f"{cause} {number}" for cause, number in Counter(alarmed).items())
        line = f"alarms of collapse in {len(alarmed)} of {len(records)} runs; first cause: {causes}"
        console.print(line, highlight=False)
    failed = [note for note in notes if note["error"]]
    stopped = [note for note in failed if note["error"].startswith("KeyboardInterrupt")]
    for note in stopped:
        failed.remove(note)
        console.print(f"interrupted {note['name']}", markup=False, highlight=False, soft_wrap=True)
    diverged = [note for note in failed if (each := found.get(note["cell"])) and each.diverged]
    failed = [note for note in failed if note not in diverged]
    for how, those in (("diverged", diverged), ("failed", failed)):
        for note in those:
            line = f"{how}: {located(note['error'], note['name'])}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        if those:
            console.print(f"{len(those)} of {len(notes)} jobs {how}")


def _record(cell: Path) -> RunRecord | None:
    try:
        return read_record(cell)
    except UserError:  # damaged; the job itself failed by it, and said so
        return None


def _variant(record: RunRecord) -> set[str]:
    """What was overridden in a run, as typed; of one in a chain which tasks came before."""
    typed, named = set(varied(record.overrides)), record.coordinates["variant"].split(",")
    if record.start:  # whose folder is another one for each seed
        typed = {each for each in typed if each.partition("=")[0] not in ("model", "model.path")}
        typed |= {each for each in named if each.startswith(f"{AFTER}=")}
    return typed or set(filter(None, named))


def summary_rows(records: Iterable[RunRecord], hidden: set[str]) -> list[tuple[str, ...]]:
    """Mean ± standard deviation over seeds, one row per (task, method, variant without hidden)."""
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        place = record.coordinates
        own = sorted(_variant(record) - hidden)
        groups[place["task"], " ".join([place["method"], *own])].append(record)
    return [
        (group[0].task_label, method, *_figures(group)) for (_, method), group in groups.items()
    ]


def _figures(group: list[RunRecord]) -> tuple[str, ...]:
    metric = group[0].config["task"]["metric"]
    name, shown = f"evaluation/{metric}", metric
    if all(name not in record.metrics for record in group):  # trials know no other
        name, shown = f"validation/{metric}", f"validation {metric}"
    values = [value for record in group if (value := record.metrics.get(name)) is not None]
    rows = {record.fingerprints.get("evaluation_rows") for record in group}
    if len(rows) > 1:
        shown, values = f"{shown} of different rows:", []  # no mean of what is not comparable
    scale = percent(metric)
    mean = scale * statistics.fmean(values) if values else float("nan")
    spread = f" ± {scale * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    tokens = [record.performance.get("tokens_per_s", 0) for record in group]
    memory = [record.performance.get("peak_memory_bytes", 0) for record in group]
    seconds = [record.performance.get("wall_time_s", 0) for record in group]
    trainable = group[0].parameters.get("trainable", 0)
    return (
        ",".join(str(record.coordinates["seed"]) for record in group),
        f"{shown} {mean:.2f}{spread}",
        f"{trainable:,}" if trainable else "-",
        f"{statistics.median(tokens):,.0f}" if any(tokens) else "-",
        f"{max(memory) / 2**30:.2f} GiB",
        f"{statistics.median(seconds):.1f} s",
    )
