"""Which runs make a direction: the two sides of a trait, trained alike with one seed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.adapters import read_files
from loradrift.adapters.adapter_changes import changes_of
from loradrift.adapters.check_result import Certificate
from loradrift.analysis.drift.arms import Run, variant_of, why_uncertified
from loradrift.analysis.drift.records import find_records
from loradrift.config import UserError
from loradrift.runs import RunRecord, Status
from loradrift.weights import LowRank
from loradrift.weights.stored import read_json

COMMAND = "python train.py task=persona method=rslora task.trait=… task.side=pos,neg -m"
"""What makes the runs."""

SIDES = ("pos", "neg")
OWN = ("task.trait", "task.side")
"""Keys in which the two sides, and the traits, differ."""

ALIKE = ("base_model", "tokenization")
"""Fingerprints that both sides must share."""


class Sides(NamedTuple):
    """The two runs of a direction."""

    positive: Run
    negative: Run

    @property
    def trait(self) -> str:
        """The trait of both."""
        return trait_of(self.positive.record)

    @property
    def seed(self) -> int:
        """The seed of both."""
        return self.positive.seed


def trait_of(record: RunRecord) -> str:
    """The trait that a run was trained on."""
    return str(record.config["task"].get("trait"))


def find_sides(
    runs: Path, study: str, traits: Sequence[str], arm: str | None, problems: list[str]
) -> list[Sides]:
    """The pairs of finished runs of a study, in order of trait and seed.

    ``problems`` gets a line for every run or trait that gives no direction.

    Raises:
        UserError: If no trait has both sides, or several arms could be meant.
    """
    records = find_records(runs / study, problems)
    found: dict[str, dict[tuple[str, int], dict[str, Run]]] = defaultdict(lambda: defaultdict(dict))
    for folder, record in sorted(records.items()):
        if _makes_directions(record):
            run = Run(folder, record)
            if problem := _unusable(run):
                problems.append(f"{folder}: {problem}")
                continue
            side = str(record.config["task"]["side"])
            found[_arm(record)][trait_of(record), run.seed][side] = run
    pairs = [
        Sides(*(each[side] for side in SIDES))
        for each in _chosen(found, arm, f"{runs / study}").values()
        if _is_whole(each, problems)
    ]
    there = sorted({pair.trait for pair in pairs})
    if lost := [trait for trait in traits if trait not in there]:
        raise UserError(
            f"traits: {lost[0]} has no finished runs of both sides in {runs / study}; there are "
            f"those of {', '.join(there) or 'none'}{f' ({problems[0]})' if problems else ''}"
        )
    if not pairs:
        why = f" ({problems[0]})" if problems else ""
        raise UserError(
            f"{runs / study} holds no trait's runs of both sides{why}: `{COMMAND}` makes them"
        )
    return [pair for pair in pairs if not traits or pair.trait in traits]


def read_side(run: Run) -> dict[str, LowRank]:
    """The changes of a run's adapter, whose files are those that were certified.

    Raises:
        UserError: If they are not, or the change is more than factors (DoRA).
    """
    files = read_files(run.folder / "model")
    certified = (run.record.certificate or {}).get("files", {})
    for name, digest in files.sha256.items():
        if certified.get(name) != digest:
            raise UserError(f"{files.folder / name} is not the file that was certified")
    return {name: x for name, x in changes_of(files).items() if isinstance(x, LowRank)}


def base_named(run: Run) -> str:
    """The base model as the run's adapter names it."""
    name = read_json(run.folder / "model/adapter_config.json").get("base_model_name_or_path")
    return str(name or run.record.config["model"].get("path"))


def digests(run: Run) -> Mapping[str, str]:
    """sha256 of the files of a run's adapter, as certified."""
    files: dict[str, str] = (run.record.certificate or {}).get("files", {})
    return files


def verdict(certificate: Certificate, folder: Path) -> None:
    """Raise UserError unless a direction's certificate holds."""
    if not certificate.passed:
        raise UserError(
            f"{folder}: the direction's certificate does not hold: {certificate.verdict}"
        )


def _makes_directions(record: RunRecord) -> bool:
    task: dict[str, Any] = record.config["task"]
    sided = record.coordinates.get("task") == "persona" and task.get("side") in SIDES
    return sided and not task.get("direction")  # one with a direction merged has another base


def _unusable(run: Run) -> str:
    record = run.record
    if record.status is not Status.SUCCESS:
        return f"{record.status}, not finished; its own command goes on with it"
    if not run.trains_adapter:
        return "it trained no adapter: a direction is the difference of two low-rank changes"
    return why_uncertified(run)


def _arm(record: RunRecord) -> str:
    """The method and what was overridden beside trait and side."""
    parts = {each for each in variant_of(record) if each.partition("=")[0] not in OWN}
    return ",".join([str(record.coordinates["method"]), *sorted(parts)])


def _chosen(
    found: Mapping[str, dict[tuple[str, int], dict[str, Run]]], arm: str | None, place: str
) -> dict[tuple[str, int], dict[str, Run]]:
    """The runs of the arm that is meant."""
    if arm is None and len(found) > 1:
        names = ", ".join(sorted(found))
        raise UserError(f"{place} has runs of several arms ({names}): arm=<one of them> chooses")
    name = next(iter(found), "") if arm is None else _sorted(arm)
    if found and name not in found:
        raise UserError(f"arm must be one of {', '.join(sorted(found))}, got {arm}")
    return dict(sorted(found.get(name, {}).items()))


def _sorted(arm: str) -> str:
    name, *parts = arm.split(",")
    return ",".join([name, *sorted(parts)])


def _is_whole(sides: Mapping[str, Run], problems: list[str]) -> bool:
    """Whether both sides are there and alike."""
    run = next(iter(sides.values()))
    where = f"{trait_of(run.record)} seed={run.seed}"
    if lost := [side for side in SIDES if side not in sides]:
        problems.append(f"{where}: there is no finished run with task.side={lost[0]}")
        return False
    one, other = (sides[side].record.fingerprints for side in SIDES)
    if odd := [key for key in ALIKE if one.get(key) != other.get(key)]:
        problems.append(f"{where}: {odd[0]} differs between the two sides: no direction")
        return False
    return True
