"""The command line around Hydra: one clear line per mistake, and exit codes."""

import gc
import os
import select
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import Config, UserError
from loradrift.config.job_names import own_overrides, shared_keys, shown_name
from loradrift.error_messages import one_line
from loradrift.progress import lines_of
from loradrift.runs import Cell, open_run

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as a shell reports it."""

HYDRA_MAY_CALL = [
    "loradrift.cli.*", "loradrift.study.*", "loradrift.sweeping.*", "hydra.*", "hydra_plugins.*",
    "optuna.*", "logging.*",
]  # fmt: skip
"""The only packages that a ``_target_`` in a configuration may name."""

QUOTES = "'\""

LISTS = (
    "batch_sizes", "serving.adapters", "serving.batch_sizes", "serving.folders",
    "serving.server.concurrency", "serving.server.rates", "steering.layers", "traits",
)  # fmt: skip
"""Keys of lists, whose brackets may be left out; with ``-m`` commas part what is swept."""

PATHS = (
    "adapter", "base", "callbacks.persona_monitor.directions", "model.path", "out", "run",
    "steering.direction", "steering.run", "task.direction", "task.encoder_run",
)  # fmt: skip
"""Keys of one path each, which is often a run's folder, with ``=`` and commas in its name."""

OPTIONAL = ("experiment", "search", "study")
"""Groups of which nothing is chosen unless it is typed."""

HOMES = ("~", "sqlite:///~")
"""How a path begins that is below the user's home."""


class JobFailed(Exception):
    """A job ended without success; its message has been printed and, if it began, recorded."""


@contextmanager
def entry_point() -> Iterator[None]:
    """Turn what goes wrong into one line on stderr and an exit code."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    # Imports leave no garbage; looking for some after each 700 objects takes a sixth of their time.
    gc.set_threshold(100_000, 50, 50)
    try:
        with plain_warnings():
            yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)
    except JobFailed:
        sys.exit(1)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the rest may go
            sys.exit(1)
        of_ours = type(error).__module__.partition(".")[0] in ("hydra", "omegaconf", "loradrift")
        if not of_ours and not (isinstance(error, OSError) and error.filename):
            traceback.print_exc()  # a file that cannot be written is named in the line below
        say(one_line(error))
        sys.exit(error.exit_code if isinstance(error, UserError) else 1)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print this project's own warnings without the line of the program that they come from."""
    before, package = warnings.formatwarning, os.path.dirname(os.path.dirname(__file__))

    def one_line_each(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category is UserWarning and filename.startswith(package):
            return f"warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = one_line_each
    try:
        yield
    finally:
        warnings.formatwarning = before


def quote_values(typed: list[str]) -> None:
    """Quote in place what Hydra could not read: commas of an arm, ``~`` and ``=`` of a path.

    As in ``analysis.treatment=lora,method.rank=64``, ``runs=~/runs`` and ``run=sst2/lora/seed=1``.
    A list gets the brackets that were left out, as in ``serving.adapters=1,2,4``. With ``-m`` a
    comma may part the values of a sweep: a path with ``=`` then needs its own quotes.

    Raises:
        UserError: If a group is typed as null, of which Hydra says neither name nor rule.
    """
    swept = any(word in ("-m", "--multirun") for word in typed)
    for place, word in enumerate(typed):
        key, _, value = word.partition("=")
        if key in OPTIONAL and value.lower() == "null":
            raise UserError(f"{key} must be one of its options, or left out for none, got {value}")
        is_arm = key in ("analysis.control", "analysis.treatment", "arm") and "=" in value
        is_path = key in PATHS and not swept and not {"=", ","}.isdisjoint(value)
        if is_arm or is_path:
            typed[place] = f"{key}='{value.strip(QUOTES)}'"
        elif key in LISTS and value[:1] not in ("", "[") and not (swept and "," in value):
            typed[place] = f"{key}=[{','.join(map(_quoted, value.split(',')))}]"
        elif value.startswith(HOMES):  # several with -m
            typed[place] = f"{key}=" + ",".join(f"'{each}'" for each in value.split(","))


def _quoted(part: str) -> str:
    """An element of a list; numbers need no quotes."""
    return part if part.replace(".", "", 1).isdigit() else f"'{part.strip(QUOTES)}'"


def reader_left() -> bool:
    """Whether stdout is a pipe whose reader has gone, as ``head`` does: there is none to tell."""
    watch = select.poll()
    with suppress(OSError, ValueError):  # no file, in a test
        watch.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watch.poll(0))
    return False


@contextmanager
def cell(cfg: DictConfig, overrides: Sequence[str]) -> Iterator[tuple[Config, Cell]]:
    """Judge the configuration and hold its cell while the run is on.

    Raises:
        JobFailed: If anything went wrong; the reason is printed and recorded, and the traceback
            of what is no user's mistake is in ``error.log``.
    """
    alone = HydraConfig.get().mode is RunMode.RUN
    shared = shared_keys(DictConfig(HydraConfig.get()))
    # which of many it is; one has just been typed
    where = "" if alone else " ".join(own_overrides(overrides, shared))
    folder = None
    try:
        config = resolve_config(cfg, overrides)
        folder = config.cell
        where = config.cell_name if alone else shown_name(config, overrides, shared)
        _check_many(config, alone)
        with open_run(config, overrides) as held, lines_of("" if alone else where):
            if held.finished:
                held.drop_resume_point()  # of an earlier version, or of a process killed just then
            begun = "resuming" if held.last_checkpoint.exists() else "starting"
            print(f"{where}: {'finished already' if held.finished else begun}", flush=True)
            yield config, held
    except Exception as error:
        line = located(one_line(error), where)
        if folder and (folder / "error.log").is_file() and not isinstance(error, UserError):
            line += f"; traceback: {folder}/error.log"
        say(line)
        if alone:
            sys.exit(1)  # Hydra would add a line of its own to an exception
        raise JobFailed(one_line(error)) from None


def _check_many(config: Config, alone: bool) -> None:
    """Refuse to do for a single run what was typed for a study, a search or a listing."""
    choices = OmegaConf.select(DictConfig(HydraConfig.get()), "runtime.choices") or {}
    if alone and (study := choices.get("study")):
        raise UserError(f"study={study} is a study of many runs: add -m")
    if (search := choices.get("search")) and config.search.trial is None:
        raise UserError(f"search={search} is a sweep of many runs: add -m")
    if config.study.dry_run:  # a study keeps it from its jobs
        raise UserError("study.dry_run=true lists a study, such as study=drift -m; this is none")


def located(message: str, where: str) -> str:
    """A message, and after it the cell that it is about, where there are several."""
    return f"{message} (in {where})" if where else message


def say(message: str) -> None:
    """One line on stderr."""
    print(f"error: {message}", file=sys.stderr, flush=True)
