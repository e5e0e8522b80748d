"""H3: two adapters side by side take at most 30 % longer than merged models, at batch 8."""

from typing import Any, NamedTuple

import pandas as pd

from loradrift.analysis.serving.answers import Answers
from loradrift.analysis.serving.overheads import LEAST_ROUNDS
from loradrift.analysis.serving.reading import ServingCell
from loradrift.report.blocks import interval_text
from loradrift.report.verdicts import Verdict

ARM, BATCH, MARGIN = "multi_2_adapters", 8, 1.30
CLAIM = "two adapters side by side take at most 30 % longer than merged models, at batch 8"


class H3(NamedTuple):
    """What one cell says about the claim; NaN where it says nothing."""

    verdict: Verdict
    ratio: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    rounds: int
    why: str = ""
    """What keeps it from a verdict; empty where there is one."""

    log_ratios: tuple[float, ...] = ()
    """Of each round."""

    of_rounds: tuple[int, ...] = ()
    """Their numbers: a round that could not be read has none."""


def judge(low: float, high: float, rounds: int) -> Verdict:
    """The verdict of a 95 % interval of ratios.

    Example:
        >>> str(judge(1.1, 1.2, rounds=5)), str(judge(1.1, 1.2, rounds=4))
        ('supported', 'undecided')
    """
    if rounds < LEAST_ROUNDS:
        return Verdict.UNDECIDED
    if high < MARGIN:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if low > MARGIN else Verdict.UNDECIDED


def h3(overheads: pd.DataFrame, answers: Answers) -> H3:
    """The verdict of a cell, from its overheads.

    Wrong answers are as fast as right ones: with any, there is no verdict.
    """
    rows = overheads[
        (overheads["phase"] == "offline") & (overheads["load"] == BATCH)
        & (overheads["arm"] == ARM) & (overheads["against"] == "merged")
    ]  # fmt: skip
    nothing: dict[str, Any] = dict.fromkeys(
        ("ratio", "low", "high", "bootstrap_low", "bootstrap_high"), float("nan")
    )
    if rows.empty:
        why = f"no round has both {ARM} and the merged models at batch {BATCH}"
        return H3(Verdict.NO_DATA, **nothing, rounds=0, why=why)
    row = rows.iloc[0]
    figures: dict[str, Any] = {name: float(row[name]) for name in nothing}
    rounds = int(row["rounds"])
    figures |= {key: tuple(row[key]) for key in ("log_ratios", "of_rounds")}
    if not answers.sound:
        if not answers.timed:
            why = "no answer was checked, so the times mean nothing"
            return H3(Verdict.NO_DATA, **figures, rounds=rounds, why=why)
        count = max(answers.wrong, answers.wrong_adapter)
        why = f"{count} of {answers.answers} answers are wrong, so the times mean nothing"
        return H3(Verdict.NO_DATA, **figures, rounds=rounds, why=why)
    verdict, why = judge(figures["low"], figures["high"], rounds), ""
    if rounds < LEAST_ROUNDS:
        why = f"{rounds_text(rounds)}, and a verdict takes at least {LEAST_ROUNDS}"
    elif verdict is Verdict.UNDECIDED:
        why = f"the interval holds {MARGIN:.2f}"
    return H3(verdict, **figures, rounds=rounds, why=why)


def rounds_text(rounds: int) -> str:
    """``1 round``, ``5 rounds``."""
    return f"{rounds} round{'s' * (rounds != 1)}"


def h3_sentence(cell: ServingCell, found: H3) -> str:
    """The verdict with what it stands for: data, model, engine, kernels, precision."""
    setting = f"On {stands_for(cell)}"
    verdict = f"H3 (at most 30 % overhead) {verdict_text(found)}"
    if found.rounds == 0:
        return f"{setting}, {verdict}."
    ends = interval_text(found.low, found.high)
    interval = "no interval" if ends == "-" else f"95 % interval {ends}"
    return (
        f"{setting}, two adapters side by side take {found.ratio:.3g} times as long as merged "
        f"models at batch {BATCH} ({interval}; {rounds_text(found.rounds)}): {verdict}."
    )


def stands_for(cell: ServingCell) -> str:
    """``generated data and a 0.93 M-parameter Llama (tiny) (vLLM, CPU kernels, fp32)``."""
    return f"{cell.plan.data()} and {model_text(cell)} ({cell.plan.setting()})"


def verdict_text(found: H3) -> str:
    """``is supported``, ``is undecided: 3 rounds, …``."""
    if found.verdict is Verdict.NO_DATA:
        return f"has no verdict: {found.why}"
    return f"is {found.verdict}: {found.why}" if found.why else f"is {found.verdict}"


def model_text(cell: ServingCell) -> str:
    """The model with its size."""
    label, name = str(cell.plan.model["label"]), str(cell.plan.model["name"])
    shown = label if name.lower() in label.lower() else f"{label} ({name})"
    return f"a {shown}" if label[:1].isdigit() else shown
