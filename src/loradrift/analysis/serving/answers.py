"""Whether every answer was its model's, counted again from the samples themselves."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.serving.plans import Plan
from loradrift.analysis.serving.reading import ServingCell


class Answers(NamedTuple):
    """How many answers there are of each kind."""

    answers: int
    equal: int
    ties: int
    """Other tokens, whose log-probability is as good up to the tolerance."""

    wrong: int
    unchecked: int
    wrong_adapter: int
    """Answered by another model than the one asked: its tokens say so, or the server's name."""

    base_answers: int
    """Of requests for the base model."""

    equal_tokens: float
    largest_gap: float
    """In nats: how far a token's log-probability is below the reference's best."""

    @property
    def wrong_adapter_rate(self) -> float:
        """The share of answers by another model than the one asked."""
        return self.wrong_adapter / self.answers

    @property
    def sound(self) -> bool:
        """Whether the times are of the right answers."""
        return self.wrong == self.wrong_adapter == 0


def count_answers(samples: pd.DataFrame) -> Answers:
    """Count them in samples of any phase."""
    kinds = samples["answer"].value_counts()
    asked, served = samples["asked"].fillna(""), samples["served"].fillna("")
    by = samples["answered_by"]
    wrong = samples["answer"] == "differs"
    elsewhere = wrong & by.notna() & (by != asked.where(asked != "", "base"))
    return Answers(
        answers=len(samples),
        equal=int(kinds.get("equal", 0)),
        ties=int(kinds.get("tie", 0)),
        wrong=int(wrong.sum()),
        unchecked=int(kinds.get("unchecked", 0)),
        wrong_adapter=int((elsewhere | (asked != served)).sum()),
        base_answers=int((asked == "").sum()),
        equal_tokens=float(samples["equal_tokens"].mean()),
        largest_gap=float(samples["gap"].max()),
    )


def answers_text(found: Answers) -> str:
    """The counts in one sentence."""
    said = [
        f"{found.answers:,} answers checked: {found.equal:,} equal to their model's token for token"
    ]
    if found.ties:
        said.append(
            f"{found.ties:,} differ where two tokens are equally good (at most "
            f"{found.largest_gap:.1e} nats apart)"
        )
    if found.unchecked:
        said.append(f"{found.unchecked:,} not checked")
    said += [f"{found.wrong:,} wrong", f"wrong adapter rate {found.wrong_adapter_rate:.2%}"]
    return ", ".join(said)


def apart_text(plan: Plan) -> str:
    """Which adapters' answers coincide, so that one in the other's place would not be seen."""
    if not plan.cannot_tell_apart:
        return ""
    pairs = _listed(
        f"{plan.adapter_label(first)} and {plan.adapter_label(second)} ({share:.0%} of prompts)"
        for first, second, share in plan.cannot_tell_apart
    )
    return f"Cannot be told apart by their answers, which coincide: {pairs}."


def contradictions(cell: ServingCell, found: Answers) -> list[str]:
    """Where ``checks.json`` says something else than the samples; a line each."""
    return [
        f"checks.json of {cell.name} says {name} {cell.checks[name]}, its samples {value}"
        for name, value in found._asdict().items()
        if name in ("wrong", "wrong_adapter") and cell.checks.get(name, value) != value
    ]


def _listed(texts: Iterable[str]) -> str:
    every: Sequence[str] = list(texts)
    return ", ".join(every)
