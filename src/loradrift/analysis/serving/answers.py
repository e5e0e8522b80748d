"""Whether every answer was its model's, counted again from the samples themselves."""

from typing import NamedTuple

import pandas as pd

from loradrift.analysis.serving.plans import Plan
from loradrift.analysis.serving.reading import ServingCell


class Answers(NamedTuple):
    """How many answers there are of each kind."""

    answers: int
    """Those that were held against their model's."""

    equal: int
    ties: int
    """Other tokens, each within the tolerance of their model's best."""

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
        return self.wrong_adapter / max(1, self.answers)

    @property
    def sound(self) -> bool:
        """Whether the times are of right answers: some were checked, and none is wrong."""
        return self.answers > 0 and self.wrong == self.wrong_adapter == 0


def count_answers(samples: pd.DataFrame) -> Answers:
    """Count them in samples of any phase."""
    kinds = samples["answer"].value_counts()
    asked, served = samples["asked"].fillna(""), samples["served"].fillna("")
    by = samples["answered_by"]
    wrong, unchecked = (samples["answer"] == kind for kind in ("differs", "unchecked"))
    checked = samples[~unchecked]
    elsewhere = wrong & by.notna() & (by != asked.where(asked != "", "base"))
    return Answers(
        answers=len(checked),
        equal=int(kinds.get("equal", 0)),
        ties=int(kinds.get("tie", 0)),
        wrong=int(wrong.sum()),
        unchecked=int(unchecked.sum()),
        wrong_adapter=int((elsewhere | (asked != served)).sum()),
        base_answers=int(checked["asked"].isna().sum()),
        equal_tokens=float(checked["equal_tokens"].mean()),
        largest_gap=float(samples.loc[samples["answer"] == "tie", "gap"].max()),
    )


def answers_text(found: Answers) -> str:
    """The counts in one sentence."""
    said = [
        f"{found.answers:,} answers checked: {found.equal:,} equal to their model's token for token"
    ]
    if found.ties:
        said.append(
            f"{found.ties:,} with another token that their model finds as good (at most "
            f"{found.largest_gap:.1e} nats below its best; of all tokens "
            f"{100 * found.equal_tokens:.3g} % are equal)"
        )
    said += [f"{found.wrong:,} wrong", f"wrong adapter rate {100 * found.wrong_adapter_rate:.2g} %"]
    said += [f"{found.unchecked:,} more not checked"] if found.unchecked else []
    return ", ".join(said)


def apart_text(plan: Plan) -> str:
    """Which adapters' answers coincide, so that one in the other's place would not be seen."""
    if not plan.cannot_tell_apart:
        return ""
    pairs = ", ".join(
        f"{plan.adapter_label(first)} and {plan.adapter_label(second)}"
        for first, second, _ in plan.cannot_tell_apart
    )
    return f"Their answers coincide on every prompt, so that they cannot be told apart: {pairs}."


def contradictions(cell: ServingCell, found: Answers) -> list[str]:
    """Where ``checks.json`` says something else than the samples; a line each."""
    return [
        f"checks.json of {cell.name} says {name} {cell.checks[name]}, its samples {value}"
        for name, value in found._asdict().items()
        if name in ("wrong", "wrong_adapter") and cell.checks.get(name, value) != value
    ]
