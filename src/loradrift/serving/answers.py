"""Every answer is held against the answer of the model that was asked, merged."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from loradrift.serving.samples import WRONG, ReferenceAnswer, Sample

Answer = tuple[int, tuple[int, ...]]
"""A prompt's number, and the tokens that answer it."""

Gaps = Callable[[str | None, Sequence[Answer]], list[list[float]]]
"""Takes a model (an adapter, merged; None is the base) and answers: how far (nats) each token's
log-probability is below the best token's, in transformers and fp32."""


class Tolerance(NamedTuple):
    """How far (nats) a right answer may be below the likeliest one."""

    token: float
    """Most of a single token."""

    answer: float
    """Most of all its tokens together, for each 128 of them."""

    def allows(self, gaps: Sequence[float]) -> bool:
        """Whether an answer with these gaps is right; NaN is not."""
        most = self.answer * max(1.0, len(gaps) / 128)
        return max(gaps, default=0.0) <= self.token and sum(gaps) <= most


TOLERANCES = {"float32": Tolerance(1e-3, math.inf), "bfloat16": Tolerance(math.inf, 2.0)}
"""In float32, two tokens whose log-probabilities are 1e-3 apart are as good as each other: the
order of sums, which differs between kernels and batches, decides which one is the best. A bfloat16
number has 8 bits, so a logit of 16 to 32 is off by up to 1/16, and single tokens by more: of 288
answers of 128 tokens (the small model, its base and four adapters, merged and not) the right ones
are together 0 to 1.1 nats below the likeliest, and those of other models 4 to 960."""


class References(NamedTuple):
    """The right answers: model -> prompt -> tokens."""

    answers: Mapping[str | None, Mapping[int, tuple[int, ...]]]

    @classmethod
    def of(cls, rows: Sequence[ReferenceAnswer]) -> "References":
        """Sort the rows of ``reference.parquet``."""
        answers: dict[str | None, dict[int, tuple[int, ...]]] = {}
        for row in rows:
            answers.setdefault(row.adapter, {})[row.prompt] = tuple(row.token_ids)
        return cls(answers)

    def coincident(self) -> list[tuple[str, str, float]]:
        """Pairs of models whose answers are the same for every prompt, and that share, 1.

        An answer of the one is no evidence that it is not the other's.
        """
        models = sorted(self.answers, key=lambda model: (model is not None, model or ""))
        return [
            (first or "base", second or "base", 1.0)
            for i, first in enumerate(models)
            for second in models[i + 1 :]
            if self.answers[first] == self.answers[second]
        ]


def judge(
    samples: Sequence[Sample], references: References, gaps: Gaps, tolerance: Tolerance
) -> list[Sample]:
    """The same samples, each with what its answer is worth.

    An answer is ``equal`` to its reference (to the beginning of it, where it was asked for fewer
    tokens), or a ``tie``: its tokens are, each given those before it, within the tolerance of the
    reference model's best. Else it ``differs``, as it does where the engine itself says that
    another model has answered.
    """
    judged = list(samples)
    unequal: dict[str | None, list[int]] = {}
    for i, sample in enumerate(samples):
        wanted = references.answers[sample.asked][sample.prompt][: sample.tokens]
        equal = [a == b for a, b in zip(sample.token_ids, wanted, strict=False)]
        share = sum(equal) / max(1, len(wanted), sample.tokens)
        judged[i] = sample._replace(answer="equal", equal_tokens=share)
        if share < 1 or sample.served != sample.asked:
            unequal.setdefault(sample.asked, []).append(i)
    for asked, places in unequal.items():
        found = gaps(asked, [_answer(judged[i]) for i in places])
        for i, own in zip(places, found, strict=True):
            right = tolerance.allows(own) and judged[i].served == asked
            answer, gap = "tie" if right else WRONG, max(own, default=0.0)
            judged[i] = judged[i]._replace(answer=answer, gap=gap)
    wrong = [i for i, sample in enumerate(judged) if sample.answer == WRONG]
    for i in wrong:
        by = _answered_by(judged[i], references, gaps, tolerance)
        judged[i] = judged[i]._replace(answered_by=by)
    return judged


def _answer(sample: Sample) -> Answer:
    return sample.prompt, tuple(sample.token_ids)


def _answered_by(
    sample: Sample, references: References, gaps: Gaps, tolerance: Tolerance
) -> str | None:
    """The model, other than the one that was asked, that gives an answer."""
    others = [model for model in references.answers if model != sample.asked]
    if sample.served != sample.asked and sample.served in others:
        return sample.served or "base"
    size = len(sample.token_ids)
    for model in others:
        if references.answers[model][sample.prompt][:size] == tuple(sample.token_ids):
            return model or "base"
    for model in others:
        [own] = gaps(model, [_answer(sample)])
        if tolerance.allows(own):
            return model or "base"
    return None


def complaint(samples: Sequence[Sample], certificates: Mapping[str, str]) -> str | None:
    """What is wrong with the first wrong answer of judged samples, in one line; None if none is.

    ``certificates`` says of each adapter what its certificate says.
    """
    wrong = next((sample for sample in samples if sample.answer == WRONG), None)
    if wrong is None:
        return None
    count = sum(sample.answer == WRONG for sample in samples)
    by = "no model that is served" if wrong.answered_by is None else wrong.answered_by
    asked = wrong.asked or "the base model"
    certificate = certificates.get(wrong.asked or "", "")
    holds = f"; {wrong.asked}'s certificate: {certificate}" if certificate else ""
    return (
        f"a wrong answer: {wrong.arm} at {load_name(wrong.phase)} {wrong.load:g}, round "
        f"{wrong.round}, request {wrong.request}: {asked} was asked and {by} answers so (a token "
        f"is {wrong.gap:.3g} nats below {asked}'s best); {count} of {len(samples)} answers of this "
        f"round are wrong{holds}"
    )


def load_name(phase: str) -> str:
    """What the load of a phase counts."""
    names = {"offline": "batch size", "closed_loop": "concurrency"}
    return names.get(phase, "requests per second")
