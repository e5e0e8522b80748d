"""Whether every answer was its model's, counted again from the samples themselves."""

from typing import NamedTuple

from loradrift.analysis.serving.plans import COLD, SEARCH, Plan
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

    base_beside: int
    """Of these, those in a call that asked for adapters too."""

    first_requests: int
    """Of all that were checked, those of :data:`~loradrift.analysis.serving.plans.COLD`."""

    rate_search: int
    equal_tokens: float
    largest_gap: float
    """In nats: how far a token's log-probability is below the reference's best."""

    told_apart: int | None = None
    """Of all that were checked, those that no other model gives; None where that is not known."""

    @property
    def wrong_adapter_rate(self) -> float:
        """The share of answers by another model than the one asked."""
        return self.wrong_adapter / max(1, self.answers)

    @property
    def timed(self) -> int:
        """Those that were checked and whose times count."""
        return self.answers - self.first_requests - self.rate_search

    @property
    def sound(self) -> bool:
        """Whether the times are of right answers: some were checked, and none is wrong."""
        return self.timed > 0 and self.wrong == self.wrong_adapter == 0


def count_answers(cell: ServingCell) -> Answers:
    """Count the answers of all phases of a cell, whether their times count or not."""
    samples = cell.answers
    kinds, phases = samples["answer"].value_counts(), samples["phase"]
    asked, served = samples["asked"].fillna(""), samples["served"].fillna("")
    by = samples["answered_by"]
    wrong, unchecked = (samples["answer"] == kind for kind in ("differs", "unchecked"))
    checked = samples[~unchecked]
    elsewhere = wrong & by.notna() & (by != asked.where(asked != "", "base"))
    calls = samples.assign(adapter=asked != "").groupby(["phase", "load", "arm", "round"])
    beside = (asked == "") & calls["adapter"].transform("any")
    return Answers(
        answers=len(checked),
        equal=int(kinds.get("equal", 0)),
        ties=int(kinds.get("tie", 0)),
        wrong=int(wrong.sum()),
        unchecked=int(unchecked.sum()),
        wrong_adapter=int((elsewhere | (asked != served)).sum()),
        base_answers=int(checked["asked"].isna().sum()),
        base_beside=int((beside & ~unchecked).sum()),
        first_requests=int((phases[~unchecked] == COLD).sum()),
        rate_search=int((phases[~unchecked] == SEARCH).sum()),
        equal_tokens=float(checked["equal_tokens"].mean()),
        largest_gap=float(samples.loc[samples["answer"] == "tie", "gap"].max()),
        told_apart=None if cell.apart is None else cell.apart.count(checked),
    )


def answers_text(found: Answers) -> str:
    """The counts in some sentences."""
    if not found.answers:
        return f"None of {found.unchecked:,} answers was checked."
    rate = f"wrong adapter rate {100 * found.wrong_adapter_rate:.2g} %"
    said = [f"Of {found.answers:,} answers {_were(found.wrong)} wrong ({rate})"]
    if found.told_apart is not None:
        said[0] += f"; {found.told_apart:,} could be told from every other model's"
    said.append(f"{found.equal:,} {_are(found.equal)} their model's token for token")
    if found.ties:
        said[-1] += (
            f", {found.ties:,} {_are(found.ties)} as good by it (a token is at most "
            f"{found.largest_gap:.1e} nats below its best; of all tokens "
            f"{100 * found.equal_tokens:.3g} % are equal)"
        )
    if found.base_answers:
        beside = f"{found.base_beside:,} of them" if found.base_beside else "none"
        said.append(
            f"{found.base_answers:,} {_are(found.base_answers)} of the base model, {beside} in a "
            "batch with adapters"
        )
    untimed = {
        "to first requests": found.first_requests, "of the search for rates": found.rate_search
    }  # fmt: skip
    if parts := [f"{count:,} {name}" for name, count in untimed.items() if count]:
        said.append(f"Among all are {' and '.join(parts)}, which count in no latency")
    said += [f"{found.unchecked:,} more were not checked"] if found.unchecked else []
    return ". ".join(said) + "."


def _were(count: int) -> str:
    return f"{count:,} {'was' if count == 1 else 'were'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def apart_text(plan: Plan) -> str:
    """Which models' answers are alike, so that one in the other's place would not be seen."""
    if not plan.cannot_tell_apart:
        return ""
    pairs = ", ".join(
        f"{plan.adapter_label(first)} and {plan.adapter_label(second)}"
        for first, second, _ in plan.cannot_tell_apart
    )
    return (
        "On every prompt their answers coincide, or differ in ties only, so that they cannot be "
        f"told apart: {pairs}."
    )


def contradictions(cell: ServingCell, found: Answers) -> list[str]:
    """Where ``checks.json`` says something else than the samples; a line each."""
    counted = {name: getattr(found, name) for name in ("answers", "wrong", "wrong_adapter")}
    if found.told_apart is not None:
        counted["told_apart"] = found.told_apart
    return [
        f"checks.json of {cell.name} says {name} {cell.checks[name]}, its samples {value}"
        for name, value in counted.items()
        if cell.checks.get(name, value) != value
    ]
