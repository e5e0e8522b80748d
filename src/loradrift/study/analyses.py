"""The phases of a study that read what its runs have left, and which of them are done.

An analysis is done if it is of the same runs, by the same code, with its files still there.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.caching import recall
from loradrift.config import Config, UserError
from loradrift.config.studies import phase_folder
from loradrift.files import read_json, write_json
from loradrift.progress import announced
from loradrift.runs.record import git_state

READ = ("run.json", "metrics.csv", "predictions.jsonl", "activations/manifest.json")
"""Files of a run that a report is made of, or that have the digests of those."""


@dataclass(frozen=True)
class Step:
    """An analysis: what it reads and what it writes."""

    stamp: Path
    """Remembers what it was made of."""

    reads: list[Path]
    writes: list[Path]
    """Files and folders."""

    @property
    def done(self) -> bool:
        """Whether its results are there, of what is to be read now."""
        found = self.remembered
        # code with changes has no name
        return bool(found) and not git_state()["dirty"] and found == found | self._digests()

    @property
    def remembered(self) -> dict[str, Any]:
        """The stamp; empty without one."""
        return recall(self.stamp, read_json) or {}

    def run(self, make: Callable[[], object]) -> None:
        """Do it and remember; what a killed process left half-written goes first."""
        began = time.perf_counter()
        for folder in {folder for path in self.writes for folder in (path, path.parent)}:
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        make()
        write_json(self.stamp, self._digests() | {"seconds": time.perf_counter() - began})

    def _digests(self) -> dict[str, Any]:
        commit = git_state()["commit"]
        return {"commit": commit, "read": digest(self.reads), "written": digest(self.writes)}


def digest(paths: Iterable[Path]) -> str:
    """sha256 of files, and of everything in folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file}\n{file.stat().st_size}\n".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def step_of(phase: str, settings: Config) -> Step:
    """What ``analysis``, ``report`` or ``searches`` of a study reads and writes."""
    runs, results, study = Path(settings.runs), Path(settings.results), settings.study.name
    records = sorted((runs / study).glob("*/*/seed=*/run.json"))
    trials = sorted((runs / phase_folder(study, "search")).glob("*/*/seed=*/run.json"))
    searches = results / "search" / study
    tables = [results / name for name in ("drift_analysis", "weights", "hypotheses.json")]
    report = [results / name for name in ("report.html", "report.pdf", "figures")]
    files = {
        "searches": (trials, [searches]),
        "analysis": ([*records, results / "deployment" / "deployment_benchmark.json"], tables),
        "report": ([*tables, searches / "edges.parquet"], report),
    }
    return Step(stamp_of(phase, settings), *files[phase])


def analyse(phase: str, settings: Config, storage: str | None) -> None:
    """Do ``analysis`` or ``report``, unless it is done.

    The drift report flags best values on the edge of their range, which the searches' own analysis
    finds: that comes first. ``storage`` is the URL of the searches; None is their own file.
    """
    from loradrift.analysis.registry import ANALYSES, make_config, run_analysis

    study = settings.study.name
    places: dict[str, Any] = {"runs": settings.runs, "study": study, "results": settings.results}
    step = step_of("searches", settings)
    if step.reads and not step.done:
        print(f"searches of study {study}", flush=True)
        search = make_config("search", keys={"storage": storage}, **places)
        try:
            step.run(lambda: run_analysis(search))
        except UserError as error:  # their storage is elsewhere; the runs can be compared
            print(f"not analysed: {error}", flush=True)
    name = "report" if phase == "report" else "drift"
    config = make_config(name, **places)  # registers the analyses
    make = ANALYSES[name].run if phase == "report" else ANALYSES[name].tabulate
    do_step(phase, step_of(phase, settings), lambda: make(config))


def analyse_study(name: str, settings: Config, **keys: Any) -> None:
    """Run an analysis on a study's own runs; ``keys`` are those that it alone reads."""
    from loradrift.analysis.registry import make_config, run_analysis

    study, runs, results = settings.study.name, settings.runs, settings.results
    run_analysis(make_config(name, keys=keys, runs=runs, study=study, results=results))


def stamp_of(phase: str, settings: Config) -> Path:
    """What remembers of what a study's phase was done."""
    return Path(settings.runs, ".study", settings.study.name, f"{phase}.json")


def do_step(phase: str, step: Step, make: Callable[[], object]) -> None:
    """Do a phase that is one step, unless it is done."""
    if step.done:
        print(f"phase {phase}: done already, of these very runs", flush=True)
        return
    print(f"phase {phase}", flush=True)
    with announced(f"phase {phase}"):
        step.run(make)
