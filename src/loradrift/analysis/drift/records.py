"""The records of a study that an analysis of drift reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from loradrift.config import UserError, check
from loradrift.config.keys import flatten
from loradrift.config.studies import APART
from loradrift.runs import RunRecord, read_record
from loradrift.runs.reading import damaged


def choose_study(
    runs: Path, study: str | None, command: str = "python train.py study=drift -m", usual: str = ""
) -> str:
    """The study below ``runs`` that is meant; None is the ``usual`` one, or the only one there is.

    Raises:
        UserError: If there is no such study; where there is none at all, it says which command
            makes one.
    """
    studies = []
    for folder in sorted(runs.glob("*")):
        damaged: list[str] = []  # which is told later
        if find_records(folder, damaged) or damaged:
            studies.append(folder.name)
    if not studies and find_records(runs, []):
        raise UserError(
            f"{runs} is the folder of one study: type analysis.runs={runs.parent} "
            f"analysis.study={runs.name}"
        )
    if not studies:
        raise UserError(
            f"{runs} holds no run: `{command}` makes some, analysis.runs=… names another folder"
        )
    default = usual if usual in studies else studies[0] if len(studies) == 1 else "null"
    chosen = study or default
    check(chosen in studies, "analysis.study", f"one of {', '.join(studies)}", chosen)
    return chosen


def find_records(study: Path, problems: list[str]) -> dict[Path, RunRecord]:
    """The records of a study's results by folder, without checks and the trials of a search."""
    found = training_records(study.glob("*/*/seed=*/run.json"), problems)
    return {folder: record for folder, record in found.items() if record.phase not in APART}


def without_started(
    records: Mapping[Path, RunRecord], problems: list[str]
) -> dict[Path, RunRecord]:
    """The records of runs that started from a base model; one line of ``problems`` for the others.

    Each of those started from weights of its own, so that step 0 is not the same in two of them.
    """
    kept = {folder: record for folder, record in records.items() if not record.start}
    if number := len(records) - len(kept):
        problems.append(
            f"{number} runs started from another run, and not from a base model that they share: "
            "analysis=sequence reads them"
        )
    return kept


def training_records(paths: Iterable[Path], problems: list[str]) -> dict[Path, RunRecord]:
    """The records of training runs by folder; a line of ``problems`` for each that is damaged."""
    records = {}
    for path in paths:
        try:
            record = read_record(path.parent)
            assert record is not None
            if record.kind == "training":
                _check_run(record, path)
                records[path.parent] = record
        except UserError as error:
            problems.append(str(error))
    return records


def _check_run(record: RunRecord, path: Path) -> None:
    """Refuse a record that does not say which run it is of; UserError names the key."""
    task, method = (record.config.get(key) for key in ("task", "method"))
    place, certificate = record.coordinates, record.certificate
    rate = flatten(method).get("optim.lr") if isinstance(method, dict) else None
    whole = {
        **{f"coordinates.{key}": isinstance(place.get(key), str) for key in ("task", "method")},
        "coordinates.seed": type(place.get("seed")) is int,
        "config.task.metric": isinstance(task, dict) and "metric" in task,
        "config.method": isinstance(method, dict),
        "config.method.optim.lr": rate is None or is_number(rate),
        "config.trainer.rounding": type(record.rounding) is int,
        "steps": type(record.steps) is int,
        "device": isinstance(record.device, str),
        "certificate": certificate is None or isinstance(certificate, dict),
        "certificate.passed": not isinstance(certificate, dict)
        or isinstance(certificate.get("passed"), bool | None),
    }
    for key in ("model", "data"):  # tables and pages name them
        whole[f"config.{key}"] = isinstance(record.config.get(key, {}), dict)
    for name in ("metrics", "performance", "budget"):
        values = getattr(record, name)
        whole |= {f"{name}.{key}": is_number(values[key]) for key in values}
    for name in ("parameters", "rows"):
        values = getattr(record, name)
        whole |= {f"{name}.{key}": type(values[key]) in (int, type(None)) for key in values}
    if lost := [key for key, is_there in whole.items() if not is_there]:
        raise damaged(path, f"{lost[0]} is absent or of another type")


def is_number(value: object) -> bool:
    """Whether a value of a record is a number, or null where it was not finite."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
