"""The phases of a study that read what its runs have left."""

from pathlib import Path
from typing import Any

from loradrift.config import Config, UserError
from loradrift.config.studies import phase_folder
from loradrift.study.step_cache import Step


def analyse(phase: str, settings: Config, study: str, storage: str | None) -> None:
    """Do the phase, unless it is done.

    Args:
        phase: ``analysis`` or ``report``.
        settings: Names the folders of the runs and of the results.
        study: The study's name.
        storage: URL of its searches' storage; None is their own file.
    """
    _analyse_searches(settings, study, storage)
    step = step_of(phase, settings, study)
    if step.done:
        print(f"phase {phase}: done already, of these very runs", flush=True)
        return
    print(f"phase {phase}", flush=True)
    from loradrift.analysis.registry import ANALYSES, make_config

    name = "report" if phase == "report" else "drift"
    config = make_config(name, **_places(settings, study))  # registers the analyses
    entry = ANALYSES[name]
    make = entry.run if phase == "report" else entry.tabulate
    step.run(lambda: make(config))


def _analyse_searches(settings: Config, study: str, storage: str | None) -> None:
    """The drift report flags best values on the edge of their range: they are found here."""
    step = step_of("searches", settings, study)
    if not step.reads or step.done:
        return
    print(f"searches of study {study}", flush=True)
    from loradrift.analysis.registry import make_config, run_analysis

    config = make_config("search", keys={"storage": storage}, **_places(settings, study))
    try:
        step.run(lambda: run_analysis(config))
    except UserError as error:  # their storage is elsewhere; the runs can be compared all the same
        print(f"not analysed: {error}", flush=True)


def step_of(phase: str, settings: Config, study: str) -> Step:
    """What ``analysis``, ``report`` or ``searches`` reads and writes."""
    runs, results = Path(settings.runs), Path(settings.results)
    records = sorted((runs / study).glob("*/*/seed=*/run.json"))
    trials = sorted((runs / phase_folder(study, "search")).glob("*/*/seed=*/run.json"))
    searches = results / "search" / study
    tables = [results / name for name in ("drift_analysis", "weights", "hypotheses.json")]
    report = [results / name for name in ("report.html", "report.pdf", "figures")]
    files = {
        "searches": (trials, [searches]),
        "analysis": (records, tables),
        "report": ([*tables, searches / "edges.parquet"], report),
    }
    return Step(runs / ".study" / study / f"{phase}.json", *files[phase])


def _places(settings: Config, study: str) -> dict[str, Any]:
    return {"runs": settings.runs, "study": study, "results": settings.results}
