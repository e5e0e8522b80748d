"""One verdict on a validation, with the cause named.

Several signs may show at once, and one fault makes others. The cause is the first that holds of

1. ``repetition``: answers repeat themselves, or rows have the same one and other latents change
   nothing;
2. ``rms_mismatch``: the soft prompt's scale is not that of the embeddings;
3. ``dead_lora_gradient``: LoRA has nothing to learn from;
4. ``repetition`` again: rows have the same answer;
5. ``latent_ignored``: the gold answer is as likely with another row's latents.

The first is weights gone wrong, which may take scale and gradients with them. A wrong scale alone
does not make it: with soft prompts of a hundredth and of a hundred times the scale, neither the
small model nor SmolLM2 looped, nor were its answers alike and moved by nothing. Equal answers
alone stand behind the two faults that hinder reading: what is not read is answered with what is
frequent, which may be nothing. They stand before ignored latents, which do not make them: without
a context, the most frequent answer of the small model has 16 %, of SmolLM2 on SQuAD 6 %, because
the questions differ.

The reasons name every sign that shows.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loradrift.collapse.measures import CollapseMeasures
from loradrift.statistics.intervals import Interval, t_interval

CAUSES = ("repetition", "latent_ignored", "dead_lora_gradient", "rms_mismatch")

MOST_RMS_RATIO = 10.0
"""The soft prompt's RMS may be so many times the embeddings', or that part of it. It begins at 1
by construction, and a learned gain moves it by small factors; the fault that earlier work did not
see was 100 times."""

LEAST_LORA_GRADIENT = 1e-8
"""RMS over LoRA's weights of the largest gradient since the last evaluation. It is the epsilon of
AdamW: below it a step is less than half as long as the learning rate says, at any rate."""

MOST_REPEATED = 0.5
"""Half of what an answer says, it has said before. Of SQuAD's gold answers (dev, SmolLM2's tokens)
4 % repeat a pair at all, and 32 of them never had a mean above 0.03; a loop of 16 tokens
("the the the") has 0.93."""

MOST_TOP_TOKEN = 2 / 3
"""One token is most of every answer of several. An article before names of one token each makes a
half; SQuAD's gold answers have 0.03."""

MOST_SAME_ANSWER = 0.5
"""Half of the rows have one answer. Gold answers differ: SQuAD's most frequent has 0.2 % of all,
and never more than 6 % of 32."""

LEAST_ANSWERS = 8
"""Fewer answers are not judged for repetition: of two, one may well be like the other."""

LEAST_SWAPPED_GAP = 0.05
"""What another row's latents must cost, in nats per gold token. Another paragraph costs SmolLM2 2.7
where it reads text: this is a fiftieth. The latents are ignored if the interval's upper end is
below, so that few rows are no evidence."""


class Verdict(NamedTuple):
    """Whether a model has collapsed, and why."""

    collapsed: bool
    cause: str | None
    """One of :data:`CAUSES`."""

    reasons: tuple[str, ...]
    """Every sign that shows, with its figure and its bound."""


def swapped_gap(gold_loss_N: ArrayLike, swapped_gold_loss_N: ArrayLike) -> Interval:
    """What another row's latents cost the gold answer: the mean over rows with its 95 % interval.

    In nats per token; no bounds for one row, nor where a loss is not
    finite.

    Example:
        >>> gap = swapped_gap([2.0, 2.5, 3.0], [4.0, 4.5, 5.3])
        >>> round(gap.estimate, 2), round(gap.low, 2), round(gap.high, 2)
        (2.1, 1.67, 2.53)
    """
    own_N, swapped_N = (np.asarray(x, dtype=float) for x in (gold_loss_N, swapped_gold_loss_N))
    if own_N.shape != swapped_N.shape:
        raise ValueError(
            f"gold and swapped losses must be of the same rows, got {own_N.shape} and "
            f"{swapped_N.shape}"
        )
    if not np.isfinite([own_N, swapped_N]).all():
        return Interval(np.nan, np.nan, np.nan, 0, 0.95, "a loss is not finite")
    return t_interval(swapped_N - own_N)


def verdict(
    measures: CollapseMeasures,
    grad_norms: Mapping[str, float] | None = None,
    rms_ratio: float | None = None,
    swapped_gap: Interval | None = None,
    *,
    early: bool = False,
) -> Verdict:
    """Judge one validation.

    Args:
        measures: Of its answers.
        grad_norms: ``lora``: RMS over LoRA's weights of their largest gradient since the last
            evaluation. Without the key no LoRA trains.
        rms_ratio: RMS of the soft prompts over that of the embeddings.
        swapped_gap: What other rows' latents cost (:func:`swapped_gap`).
        early: Whether no soft prompt need be read yet. Then ignored latents are no sign alone, and
            neither are equal answers: SmolLM2 as it is answers 97 % of rows with nothing, if they
            have the soft prompts that training begins with. But those move the gold answer's
            likelihood up and down, by chance as yet: another row's cost -0.2 to 0.3 nats. Both
            together are a collapse at any time.

    Example:
        >>> healthy = CollapseMeasures(64, 0.9, 0.1, 0.5, 0.8, 0.0, 0.2, 0.1, 20.0, 0.3, 0.2, 2.0)
        >>> verdict(healthy)
        Verdict(collapsed=False, cause=None, reasons=())
        >>> verdict(healthy, rms_ratio=96.0).cause
        'rms_mismatch'
    """
    first = _repetition(measures, repeated_ngram_rate=MOST_REPEATED, top_token_share=MOST_TOP_TOKEN)
    alike = _repetition(measures, top_answer_share=MOST_SAME_ANSWER)
    ignored = _ignored(swapped_gap)
    last = alike + ignored
    if alike and ignored:
        first, last = first + last, []
    signs = first + _faults(grad_norms or {}, rms_ratio) + ([] if early else last)
    cause = signs[0][0] if signs else None
    return Verdict(bool(signs), cause, tuple(reason for _, reason in signs))


def _repetition(measures: CollapseMeasures, **most: float) -> list[tuple[str, str]]:
    """A sign for each measure that is above its bound."""
    if measures.num_answers < LEAST_ANSWERS:
        return []
    found = ((name, getattr(measures, name), bound) for name, bound in most.items())
    return [
        ("repetition", f"{name} {value:.3f} above {bound:.3g}")
        for name, value, bound in found
        if value > bound
    ]


def _ignored(gap: Interval | None) -> list[tuple[str, str]]:
    """A sign where the latents are shown to be ignored."""
    if gap is None or not gap.high < LEAST_SWAPPED_GAP:
        return []
    found = f"swapped_gap {gap.estimate:.4f}, at most {gap.high:.4f}"
    return [("latent_ignored", f"{found}, below {LEAST_SWAPPED_GAP:g}")]


def _faults(grad_norms: Mapping[str, float], rms_ratio: float | None) -> list[tuple[str, str]]:
    """A sign of each fault that hinders reading."""
    signs = []
    if rms_ratio is not None and not 1 / MOST_RMS_RATIO <= rms_ratio <= MOST_RMS_RATIO:
        bounds = f"outside {1 / MOST_RMS_RATIO:g} to {MOST_RMS_RATIO:g}"
        signs.append(("rms_mismatch", f"rms_ratio {rms_ratio:.3g} {bounds}"))
    gradient = grad_norms.get("lora")
    if gradient is not None and not gradient >= LEAST_LORA_GRADIENT:
        bound = f"below {LEAST_LORA_GRADIENT:g}"
        signs.append(("dead_lora_gradient", f"lora_gradient {gradient:.3g} {bound}"))
    return signs
