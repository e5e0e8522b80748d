"""Which cells may be compared: the same model, judge, questions and way of answering."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from loradrift.analysis.steering_cells.judged import Judged, judges_of, judging_command
from loradrift.analysis.steering_cells.reading import SteeringCell
from loradrift.config import UserError, check

SETTING = ("questions", "samples", "max_tokens", "temperature")
"""Keys below ``steering`` that say how is answered."""


def setting_of(cell: SteeringCell) -> dict[str, Any]:
    """What has to agree between all cells of a report."""
    model = str(cell.record.coordinates.get("model"))
    own = {f"steering.{key}": cell.keys.get(key) for key in SETTING}
    fingerprint = cell.record.fingerprints.get("base_model")
    return {"model": model, "base_model": fingerprint, **own}


def same_setting(
    cells: Sequence[SteeringCell], named: str | None
) -> tuple[list[SteeringCell], list[str]]:
    """The cells with the setting of the one that is ``named``, and a line about the others.

    Raises:
        UserError: If there is no such cell, or none is named and there are several settings.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[SteeringCell]] = {}
    for cell in cells:
        groups.setdefault(tuple(setting_of(cell).items()), []).append(cell)
    by_name = {cell.name: group for group in groups.values() for cell in group}
    if named is not None:
        check(named in by_name, "cell", f"one of {', '.join(sorted(by_name))}", named)
        chosen = by_name[named]
        left = len(cells) - len(chosen)
        lines = [f"{left} cells of another setting than {named} are left out"] if left else []
        return chosen, lines
    if len(groups) > 1:
        (first, ours), (second, theirs), *_ = groups.items()
        told = [
            f"{key} is {dict(first)[key]} in {ours[0].name} and {dict(second)[key]} in "
            f"{theirs[0].name}"
            for key in dict(first)
            if dict(first)[key] != dict(second)[key]
        ]
        raise UserError(
            f"steering cells cannot be compared: {'; '.join(told)}. Choose with cell=<folder below "
            "runs/steering>, whose setting the report is about"
        )
    return list(cells), []


def choose_judge(cells: Sequence[SteeringCell], judge: str | None) -> str:
    """The judge that is meant: that name, the only one that begins with it, or the only one.

    Raises:
        UserError: If there is no such judge, or there are several.
    """
    there = judges_of(cells)
    if not there:
        raise UserError(f"no steering cell is judged: `{judging_command(judge)}` judges them")
    begun = [name for name in there if judge and name.startswith(f"{judge}-")]
    chosen = there[0] if judge is None and len(there) == 1 else judge
    if chosen not in there and len(begun) == 1:
        return begun[0]
    rule = f"one of {', '.join(there)}, which have judged cells"
    check(chosen in there, "judged_by", rule, chosen)
    assert chosen is not None
    return chosen


def check_comparable(judged: Sequence[Judged]) -> None:
    """Refuse cells that were judged otherwise, or asked other questions for the same trait.

    Raises:
        UserError: Names two such cells, and what differs.
    """
    for each, first in _beside_first(judged, lambda _: ""):
        if each.facts.get("fingerprint") != first.facts.get("fingerprint"):
            what = f"the settings of the judge {each.judge}"
            _refuse(first, each, what, judging_command(each.judge))
    for each, first in _beside_first(judged, lambda one: one.cell.trait):
        prints = [one.cell.record.fingerprints.get("questions") for one in (first, each)]
        ids = [[(row["id"], row["question"]) for row in one.cell.answers] for one in (first, each)]
        if prints[0] != prints[1] or sorted(ids[0]) != sorted(ids[1]):
            _refuse(first, each, f"the questions about {each.cell.trait}")
    steered = [one for one in judged if one.cell.record.fingerprints.get("direction")]
    for each, first in _beside_first(steered, _direction):
        prints = [one.cell.record.fingerprints["direction"] for one in (first, each)]
        if prints[0] != prints[1]:
            _refuse(first, each, f"the direction of {each.cell.trait}")


def _direction(judged: Judged) -> tuple[Any, ...]:
    """Cells that agree in this were steered along one direction."""
    cell = judged.cell
    keys = (cell.keys.get(key) for key in ("study", "direction", "vector", "layers"))
    return cell.trait, cell.arm, cell.seed, *map(str, keys), str(cell.also)


def _beside_first(
    judged: Iterable[Judged], group: Callable[[Judged], Any]
) -> Iterator[tuple[Judged, Judged]]:
    """Each with the first one of its group."""
    firsts: dict[Any, Judged] = {}
    for each in judged:
        first = firsts.setdefault(group(each), each)
        if first is not each:
            yield each, first


def _refuse(first: Judged, second: Judged, what: str, command: str | None = None) -> None:
    made = command or "python benchmark.py … force=true"
    raise UserError(
        f"steering cells cannot be compared: {what} differ between {first.cell.name} and "
        f"{second.cell.name}; make one of them again (`{made}`), or move it away"
    )
