"""Every answer is held against the answer of the model that was asked, merged."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from loradrift.serving.samples import WRONG, ReferenceAnswer, Sample

Answer = tuple[int, tuple[int, ...]]
"""A prompt's number, and the tokens that answer it."""

Gaps = Callable[[str | None, Sequence[Answer]], list[list[float]]]
"""Takes a model (an adapter, merged; None is the base) and answers: how far (nats) each token's
log-probability is below the best token's, in transformers and fp32."""

TIE = 1e-3
"""Two tokens whose log-probabilities are so near (nats) are as good as each other: the order of
sums, which differs between kernels and batches, decides which of them is the best."""

MOST_GAP = {"float32": TIE, "bfloat16": 1.0}
"""The largest gap (nats) of a right answer's token. A bfloat16 number has 8 bits: a logit of 16 to
32 is rounded by up to 1/16, and so are the states of every block before it."""


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
    samples: Sequence[Sample], references: References, gaps: Gaps, most_gap: float
) -> list[Sample]:
    """The same samples, each with what its answer is worth.

    An answer is ``equal`` to its reference (to the beginning of it, where it was asked for fewer
    tokens), or a ``tie``: each of its tokens is, given those before it, within ``most_gap`` of the
    reference model's best. Else it ``differs``, as it does where the engine itself says that
    another model has answered.
    """
    judged = list(samples)
    unequal: dict[str | None, list[int]] = {}
    for i, sample in enumerate(samples):
        right = references.answers[sample.asked][sample.prompt][: sample.tokens]
        equal = [a == b for a, b in zip(sample.token_ids, right, strict=False)]
        share = sum(equal) / max(1, len(right), sample.tokens)
        judged[i] = sample._replace(answer="equal", equal_tokens=share)
        if share < 1 or sample.served != sample.asked:
            unequal.setdefault(sample.asked, []).append(i)
    for asked, places in unequal.items():
        largest = _largest(gaps, asked, [judged[i] for i in places])
        for i, gap in zip(places, largest, strict=True):
            within = gap <= most_gap and judged[i].served == asked
            judged[i] = judged[i]._replace(answer="tie" if within else WRONG, gap=gap)
    wrong = [i for i, sample in enumerate(judged) if sample.answer == WRONG]
    for i in wrong:
        by = _answered_by(judged[i], references, gaps, most_gap)
        judged[i] = judged[i]._replace(answered_by=by)
    return judged


def _largest(gaps: Gaps, model: str | None, samples: Sequence[Sample]) -> list[float]:
    answers = [(sample.prompt, tuple(sample.token_ids)) for sample in samples]
    return [max(each, default=0.0) for each in gaps(model, answers)]


def _answered_by(sample: Sample, references: References, gaps: Gaps, most_gap: float) -> str | None:
    """The model, other than the one that was asked, that gives an answer."""
    others = [model for model in references.answers if model != sample.asked]
    if sample.served != sample.asked and sample.served in others:
        return sample.served or "base"
    size = len(sample.token_ids)
    for model in others:
        if references.answers[model][sample.prompt][:size] == tuple(sample.token_ids):
            return model or "base"
    for model in others:
        if _largest(gaps, model, [sample])[0] <= most_gap:
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
