"""One job of ``benchmark.py``: its configuration judged, its benchmark run, its result printed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

import loradrift.methods  # registers method=…
import loradrift.tasks  # noqa: F401  registers task=…
from loradrift.cli.entry_point import JobFailed, entry_point, located, say
from loradrift.config import UserError, load_benchmark
from loradrift.config.benchmarks import BENCHMARKS, BenchmarkConfig
from loradrift.config.job_names import own_overrides, shared_keys
from loradrift.error_messages import one_line
from loradrift.files import read_json, write_json
from loradrift.progress import lines_of


def refuse_launchers(typed: Sequence[str]) -> None:
    """Raise a UserError if cells are to be measured side by side, which would slow each of them."""
    for word in typed:
        if word.startswith("hydra/launcher=") and word != "hydra/launcher=basic":
            raise UserError(f"{word}: benchmark.py measures one cell after the other; leave it out")


def run_benchmark(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Run the benchmark that a composed configuration describes.

    Raises:
        JobFailed: With ``-m``, if anything went wrong; the reason is printed.
    """
    if HydraConfig.get().mode is RunMode.RUN:
        with entry_point():  # Hydra would add a line of its own to an exception
            config = load_benchmark(cfg, overrides)
            with report_of_failure(config):
                BENCHMARKS[config.benchmark].function()(config, overrides)
            report(config, [config.cell])
        return
    where = " ".join(own_overrides(overrides, shared_keys(DictConfig(HydraConfig.get()))))
    try:
        config = load_benchmark(cfg, overrides)
        with lines_of(where):
            BENCHMARKS[config.benchmark].function()(config, overrides)
    except Exception as error:
        say(located(one_line(error), where))
        raise JobFailed(one_line(error)) from None


@contextmanager
def report_of_failure(config: BenchmarkConfig) -> Iterator[None]:
    """If the block fails after it has begun to measure, make the report all the same.

    Else the last one, which may say that all answers are right, would stay.
    """
    before = _record(config.cell)
    try:
        yield
    except Exception:
        if _record(config.cell) != before:
            with suppress(UserError):  # there may be nothing to report yet
                report(config, [config.cell])
        raise


def _record(cell: Path) -> bytes | None:
    path = cell / "run.json"
    return path.read_bytes() if path.is_file() else None


def report(config: BenchmarkConfig, cells: Sequence[Path]) -> None:
    """Run the analysis of a benchmark's cells, if it has one: the last of ``cells`` is its subject.

    The others are shown too, whatever else there is.
    """
    name = BENCHMARKS[config.benchmark].analysis
    if name is None:
        return
    from loradrift.analysis.registry import make_config, run_analysis

    below = Path(config.runs, config.benchmark)
    *others, last = (each.relative_to(below).as_posix() for each in cells)
    keys = {"cell": last, "shown": others}
    run_analysis(make_config(name, keys=keys, runs=config.runs, results=config.results))


class ClosingLines(Callback):
    """Hydra's hooks: at the end of a sweep, one report of all cells, and which failed and why."""

    def __init__(self) -> None:
        self._config: BenchmarkConfig | None = None
        """Of the last cell, by which its benchmark and places are known."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how a cell ended."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        overrides = list(config.hydra.overrides.task)
        completed = job_return.status is JobStatus.COMPLETED
        error = None if completed else one_line(job_return._return_value)
        name = " ".join(own_overrides(overrides, shared_keys(config.hydra)))
        note = {"name": name, "error": error, "cell": None}
        with suppress(UserError, OmegaConfBaseException):
            self._config = load_benchmark(_without_hydra(config), overrides)
            note["cell"] = str(self._config.cell)
        path = Path(config.hydra.sweep.dir, f"job={config.hydra.job.num:04d}.json")
        write_json(path, note)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Say which cells failed, and report what was measured."""
        folder = Path(config.hydra.sweep.dir)
        notes = [read_json(path) for path in sorted(folder.glob("job=*.json"))]
        failed = [note for note in notes if note["error"]]
        for note in failed:
            print(f"failed: {located(note['error'], note['name'])}")
        if failed:
            print(f"{len(failed)} of {len(notes)} cells failed", flush=True)
        if self._config is None:
            return
        below = Path(self._config.runs, self._config.benchmark)
        known = [note for note in notes if Path(note["cell"] or "").is_relative_to(below)]
        done = list(dict.fromkeys(Path(note["cell"]) for note in known if not note["error"]))
        with entry_point():  # Hydra would make a warning of an exception
            if done:
                report(self._config, done)
                return
            for note in reversed(known):  # the last that has measured something before it failed
                with suppress(UserError):
                    report(self._config, [Path(note["cell"])])
                    return


def _without_hydra(config: DictConfig) -> DictConfig:
    own = config.copy()
    with read_write(own), open_dict(own):
        del own["hydra"]
    return own
