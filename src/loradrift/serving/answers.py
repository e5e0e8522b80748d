"""Every answer is held against the answer of the model that was asked, merged."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from loradrift.serving.samples import UNCHECKED, WRONG, ReferenceAnswer, Sample
from loradrift.serving.tolerance import Tolerance

Answer = tuple[int, tuple[int, ...]]
"""A prompt's number, and the tokens that answer it."""

Gaps = Callable[[str | None, Sequence[Answer]], list[list[float]]]
"""Takes a model (an adapter, merged; None is the base) and answers: how far (nats) each token's
log-probability is below the best token's, in transformers and fp32."""


class References(NamedTuple):
    """The right answers: model -> prompt -> tokens."""

    answers: Mapping[str | None, Mapping[int, tuple[int, ...]]]
    alike: frozenset[tuple[str | None, str | None]] = frozenset()
    """Models (asked, another) whose answers cannot be told apart on any prompt."""

    @classmethod
    def of(cls, rows: Sequence[ReferenceAnswer]) -> "References":
        """Sort the rows of ``reference.parquet``."""
        answers: dict[str | None, dict[int, tuple[int, ...]]] = {}
        for row in rows:
            answers.setdefault(row.adapter, {})[row.prompt] = tuple(row.token_ids)
        return cls(answers)

    def others(self, sample: Sample) -> list[str | None]:
        """The models, but the one asked, whose answer this is, token for token."""
        size, own = len(sample.token_ids), tuple(sample.token_ids)
        return [
            model
            for model, answers in self.answers.items()
            if model != sample.asked and answers[sample.prompt][:size] == own
        ]


def judge(
    samples: Sequence[Sample], references: References, gaps: Gaps, tolerance: Tolerance
) -> list[Sample]:
    """The same samples, each with what its answer is worth.

    An answer is ``equal`` to its reference (to the beginning of it, where it was asked for fewer
    tokens), or a ``tie``: its tokens are, each given those before it, within the tolerance of the
    reference model's best. Else it ``differs``, as it does where the engine itself says that
    another model has answered, and in bfloat16 where it is another model's answer token for token,
    unless these two models are known to answer alike.
    """
    judged = list(samples)
    unequal: dict[str | None, list[int]] = {}
    for i, sample in enumerate(samples):
        wanted = references.answers[sample.asked][sample.prompt][: sample.tokens]
        equal = [a == b for a, b in zip(sample.token_ids, wanted, strict=False)]
        share = sum(equal) / max(1, len(wanted), sample.tokens)
        judged[i] = sample._replace(answer="equal", equal_tokens=share)
        if sample.served != sample.asked:
            judged[i] = judged[i]._replace(answer=WRONG, answered_by=sample.served or "base")
        elif share < 1:
            unequal.setdefault(sample.asked, []).append(i)
    unnamed: list[int] = []
    for asked, places in unequal.items():
        found = gaps(asked, [_answer(judged[i]) for i in places])
        for i, own in zip(places, found, strict=True):
            others = references.others(judged[i])
            swapped = tolerance.others_count and any(
                (asked, other) not in references.alike for other in others
            )
            right = tolerance.allows(own) and not swapped
            answer, gap = "tie" if right else WRONG, max(own, default=0.0)
            judged[i] = judged[i]._replace(answer=answer, gap=gap)
            if not right and others:
                judged[i] = judged[i]._replace(answered_by=others[0] or "base")
            elif not right:
                unnamed.append(i)
    return _named(judged, unnamed, references, gaps, tolerance)


def _answer(sample: Sample) -> Answer:
    return sample.prompt, tuple(sample.token_ids)


def _named(
    judged: list[Sample],
    places: Sequence[int],
    references: References,
    gaps: Gaps,
    tolerance: Tolerance,
) -> list[Sample]:
    """Say of wrong answers which other model gives them; each model is asked once, for all."""
    for model in references.answers if places else ():
        left = [i for i in places if judged[i].answered_by is None and judged[i].asked != model]
        found = gaps(model, [_answer(judged[i]) for i in left]) if left else []
        for i, own in zip(left, found, strict=True):
            if tolerance.allows(own):
                judged[i] = judged[i]._replace(answered_by=model or "base")
    return judged


def complaint(samples: Sequence[Sample], certificates: Mapping[str, str]) -> str | None:
    """What is wrong with the first wrong answer of judged samples, in one line; None if none is.

    ``certificates`` says of each adapter what its certificate says. An answer that nothing was held
    against is no right one either.
    """
    wrong = next((sample for sample in samples if sample.answer in (WRONG, UNCHECKED)), None)
    if wrong is None:
        return None
    place = f"{wrong.arm} at {_load(wrong)}, round {wrong.round}, request {wrong.request}"
    if wrong.answer == UNCHECKED:
        return f"an answer was not checked: {place}"
    part = [each for each in samples if _part(each) == _part(wrong)]
    count = sum(sample.answer == WRONG for sample in part)
    asked = wrong.asked or "the base model"
    certificate = certificates.get(wrong.asked or "", "")
    holds = f"; {wrong.asked}'s certificate: {certificate}" if certificate else ""
    what = "round" if wrong.phase == "offline" else "part"
    return (
        f"a wrong answer: {place}: {asked} was asked and {_who(wrong)}; {count} of {len(part)} "
        f"answers of this {what} are wrong{holds}"
    )


def _who(wrong: Sample) -> str:
    """Who has answered in the place of the model that was asked."""
    if wrong.served != wrong.asked:
        return f"the engine says that {wrong.served or 'the base model'} answered"
    by = "no model that is served" if wrong.answered_by is None else wrong.answered_by
    asked = wrong.asked or "the base model"
    return f"{by} answers so (a token is {wrong.gap:.3g} nats below {asked}'s best)"


def _part(sample: Sample) -> tuple[object, ...]:
    """What is judged together: a round of all offline arms and batch sizes, or one load."""
    load = sample.load if sample.phase in ("closed_loop", "open_loop", "rate_search") else None
    return sample.phase, sample.round, load


def _load(sample: Sample) -> str:
    """The load, with what it counts."""
    if sample.phase == "cold":
        return "first requests"
    names = {"offline": "batch size", "closed_loop": "concurrency"}
    return f"{names.get(sample.phase, 'requests per second')} {sample.load:g}"
