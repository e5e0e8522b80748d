"""What leaves nothing to compare is refused, and an arm with one rate is left out."""

from collections.abc import Sequence

from loradrift.analysis.frontier.reading import FrontierRun, is_frozen
from loradrift.config import UserError


def check_rates(
    runs: Sequence[FrontierRun], baseline: str, problems: list[str]
) -> list[FrontierRun]:
    """The runs of arms with at least two rates on their task, and of frozen ones.

    Raises:
        UserError: If no run is of the baseline, its backbone is frozen, or it has one rate on every
            task.
    """
    arms = sorted({run.arm for run in runs})
    if baseline not in arms:
        there = ", ".join(arms) or "none"
        why = first_of(problems, f" {baseline} at rate ")
        raise UserError(f"baseline={baseline}: no run is of this arm, the arms are {there}{why}")
    if is_frozen(baseline):
        raise UserError(
            f"baseline={baseline}: its backbone is frozen and drifts nowhere, so nothing is a "
            "multiple of it"
        )
    kept = []
    for task, arm in dict.fromkeys((run.task, run.arm) for run in runs):
        own = [run for run in runs if (run.task, run.arm) == (task, arm)]
        rates = {run.rate for run in own}
        if len(rates) > 1 or is_frozen(arm):
            kept += own
            continue
        [rate] = rates
        said = f"{task}: {arm} has one learning rate ({rate:g}), and a frontier takes at least two"
        problems.append(f"{said}: study.factors=[…] makes more")
    if not any(run.arm == baseline for run in kept):
        line = next(line for line in problems if f": {baseline} has one" in line)
        raise UserError(line + first_of(problems, f" {baseline} at rate "))
    return kept


def check_baseline(runs: Sequence[FrontierRun], baseline: str, problems: Sequence[str]) -> None:
    """Refuse runs of which nothing can be compared.

    Raises:
        UserError: If no run of the baseline is left, or all runs diverged.
    """
    if not any(run.arm == baseline for run in runs):
        why = first_of(problems, f" {baseline} at rate ")
        raise UserError(f"baseline={baseline}: none of its runs can be used{why}")
    if all(run.diverged for run in runs):
        rates: dict[str, list[float]] = {}
        for run in runs:
            rates.setdefault(run.arm, []).append(run.rate)
        said = [
            f"{arm} at {', '.join(f'{x:g}' for x in sorted({*own}))}" for arm, own in rates.items()
        ]
        raise UserError(
            f"every run diverged ({'; '.join(said)}), so nothing can be compared: "
            "study.factors=[…] takes lower rates"
        )


def first_of(problems: Sequence[str], part: str) -> str:
    """The first problem that names a part, in brackets; empty if none does."""
    found = next((line for line in problems if part in line), "")
    return found and f" ({found})"
