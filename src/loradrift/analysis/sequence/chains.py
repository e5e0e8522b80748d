"""Steps that follow one another make a chain: which of them are whole, and in which order."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from loradrift.analysis.frontier.reading import is_frozen
from loradrift.analysis.sequence.reading import (
    Chain,
    Order,
    StepRun,
    comparable,
    key_of,
    order_text,
    typed_order,
)
from loradrift.config import UserError
from loradrift.files import sha256_of
from loradrift.runs.links import other_than_recorded

COMMAND = "python train.py study=sequence -m"


class Found(NamedTuple):
    """The chains of one order."""

    order: Order
    chains: list[Chain]
    """Whole ones, by arm and seed."""

    diverged: list[StepRun]
    """Steps that ended at a loss that is NaN or infinite.

    Where nobody asked for the order, also the steps after it: it is as far as a chain has come.
    """


def find_chains(
    steps: list[StepRun], wanted: Sequence[str], folder: Path, problems: list[str]
) -> Found:
    """Join the steps; a line of ``problems`` for whatever is in no chain.

    Args:
        steps: All usable runs of the study.
        wanted: The order to take; empty is the longest, and of these the one of most runs.
        folder: Of the study, for messages.
        problems: Takes the lines.

    Raises:
        UserError: If there is no such chain, or if two chains fit one arm and seed.
    """
    order = choose_order(steps, wanted, folder, problems)
    problems += _others(steps, order)
    kept = comparable(_members(steps, order), problems)
    missing = list[str]()
    chains = _joined(kept, order, missing)
    if not chains:
        why = "; ".join(missing or problems) or "its last step diverged with every seed"
        raise UserError(f"{folder} holds no whole chain {order_text(order)}: {why}")
    problems += missing
    beyond = [step for step in steps if not wanted and step.order[: len(order)] == order]
    diverged = dict.fromkeys(step for step in (*kept, *beyond) if step.diverged)
    return Found(order, chains, list(diverged))


def choose_order(
    steps: Sequence[StepRun], wanted: Sequence[str], folder: Path, problems: Sequence[str]
) -> Order:
    """The tasks of the chains to report.

    Raises:
        UserError: If no run has the ``wanted`` order, or no run starts from another one.
    """
    ends = Counter(step.order for step in steps if not step.diverged)
    longest = max(map(len, ends), default=0)
    if wanted:
        order = tuple(wanted)
        if order not in ends:
            there = "; ".join(typed_order(each) for each in sorted(ends)) or "none"
            raise UserError(
                f"{typed_order(wanted)}: no finished run of {folder} ends such a chain, the orders "
                f"are {there}"
            )
        return order
    if longest < 2:
        if lost := [step for step in steps if step.diverged and step.before]:
            raise UserError(
                f"{folder} holds no whole chain: every step after the first diverged "
                f"({lost[0].place}: {lost[0].record.error})"
            )
        why = f" ({problems[0]})" if problems else ""
        raise UserError(
            f"{folder} holds no run that starts from another one, so no chain of tasks: "
            f"`{COMMAND}` makes some{why}"
        )
    return max(sorted(each for each in ends if len(each) == longest), key=ends.__getitem__)


def _others(steps: Sequence[StepRun], order: Order) -> list[str]:
    """A line for each other order, the longest of those that begin alike."""
    counts = Counter(
        step.order
        for step in steps
        if step.order != order[: len(step.order)] and step.order[: len(order)] != order
    )
    whole = [
        each
        for each in counts
        if not any(other != each and other[: len(each)] == each for other in counts)
    ]
    return [
        f"{order_text(each)}: another order than {order_text(order)}, so left out; "
        f"{typed_order(each)} reports it"
        for each in sorted(whole)
    ]


def _members(steps: Sequence[StepRun], order: Order) -> list[StepRun]:
    """The runs of the chains of an order, whole or not.

    A run of the first task is one if a later step names it, or if the study made it as one: others
    are ordinary runs, which say nothing of chains.
    """
    on_it = [step for step in steps if step.order == order[: len(step.order)]]
    named = {key_of(each) for step in on_it for each in step.before}
    return [
        step
        for step in on_it
        if step.before or step.order == order or step.from_study
        or key_of(step.record.coordinates) in named
    ]  # fmt: skip


def _joined(steps: Sequence[StepRun], order: Order, problems: list[str]) -> list[Chain]:
    """The whole chains; a line of ``problems`` for each arm and seed that has none."""
    by_key = {key_of(step.record.coordinates): step for step in steps}
    cells: dict[tuple[str, int], list[StepRun]] = defaultdict(list)
    for step in steps:
        cells[step.arm, step.seed].append(step)
    chains = []
    for (arm, seed), own in cells.items():
        ends = [step for step in own if step.order == order and not step.diverged]
        whole = [path for end in ends if (path := _path(end, by_key, problems)) is not None]
        if len(whole) > 1:
            names = " and ".join(path[-1].folder.parent.name for path in whole)
            raise UserError(
                f"seed={seed}: {names} are both the chain {order_text(order)} of {arm}; give them "
                "studies of their own (study.name=…)"
            )
        chains += [Chain(arm, seed, path) for path in whole]
        if not ends and not any(step.diverged for step in own):
            last = max(own, key=lambda step: len(step.order))
            problems.append(
                f"seed={seed} {arm}: no whole chain, it can be read up to step {len(last.order)} "
                f"of {len(order)} ({last.task}); if it is unfinished, its own command goes on"
            )
    return chains


def _path(
    end: StepRun, by_key: dict[tuple[str, ...], StepRun], problems: list[str]
) -> tuple[StepRun, ...] | None:
    """The steps up to a run; None, and a line of ``problems``, if one is not there or another's."""
    found = [*(by_key.get(key_of(each)) for each in end.before), end]
    path = []
    for number, (task, step) in enumerate(zip(end.order, found, strict=True), start=1):
        if step is None:
            problems.append(f"{end.place}: its step {number} ({task}) {_why_lost(end, number)}")
            return None
        if (step.arm, step.seed) != (end.arm, end.seed):
            problems.append(
                f"{end.place}: its step {number} ({task}) is of {step.arm} seed={step.seed}, and "
                "a chain has one arm and one seed"
            )
            return None
        path.append(step)
    for number, (step, after) in enumerate(pairwise(path), start=1):
        if was_remade(step, after):
            problems.append(
                f"{end.place}: its step {number} ({step.task}) was made again after step "
                f"{number + 1} began, which did not start from it; repeat the steps after it with "
                "force=true"
            )
            return None
    return tuple(path)


def _why_lost(end: StepRun, number: int) -> str:
    """Why an earlier step of a run is not among the runs of its study."""
    study, own = (place.get("study") for place in (end.before[number - 1], end.record.coordinates))
    if study != own:
        return (
            f"is of study={study}, and a chain has one study: repeat its steps with "
            f"study.name={own}"
        )
    return (
        "is missing or left out; move it away if it is there, and repeat its command and those "
        "after it"
    )


def was_remade(step: StepRun, after: StepRun) -> bool:
    """Whether a step is not the one that the next began with, but one that was made later.

    Clocks of two machines may differ a little, so files decide where they can: not of a frozen
    backbone, of which the head alone is another one.
    """
    ended, began = step.record.ended, after.record.started
    if not (ended and began and ended > began):
        return False
    try:
        return is_frozen(step.arm) or bool(other_than_recorded(step.link, after.link, sha256_of))
    except UserError:  # the record does not say what it began with
        return True
