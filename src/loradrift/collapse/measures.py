"""All measures of one validation."""

from typing import NamedTuple

import numpy as np

from loradrift.collapse import latents, text
from loradrift.collapse.generations import Generations


class CollapseMeasures(NamedTuple):
    """How diverse the answers of one validation are; NaN where a measure is not defined."""

    num_answers: int
    unique_share: float
    top_answer_share: float
    distinct_1: float
    distinct_2: float
    repeated_ngram_rate: float
    self_bleu: float
    top_token_share: float
    vendi: float
    latent_cosine: float
    first_component_share: float
    first_token_entropy: float
    """Mean over rows, in nats."""


def measures(said: Generations) -> CollapseMeasures:
    """Measure the answers and latents of one validation.

    Raises:
        ValueError: If there is no answer, or the latents are not (N, M, Z).

    Example:
        >>> said = Generations(
        ...     token_ids=[[5, 5, 5], [5, 5, 5]], texts=["the the the"] * 2,
        ...     latents_NMZ=[[[1.0]], [[2.0]]], soft_rms=1.0, embedding_rms=1.0,
        ...     first_token_entropy_N=[0.1, 0.3], gold_loss_N=[2.0, 2.0],
        ...     swapped_gold_loss_N=[2.0, 2.0],
        ... )
        >>> found = measures(said)
        >>> found.unique_share, found.repeated_ngram_rate, found.first_token_entropy
        (0.5, 0.5, 0.2)
    """
    answers = said.token_ids
    return CollapseMeasures(
        num_answers=len(answers),
        unique_share=text.unique_share(answers),
        top_answer_share=text.top_answer_share(answers),
        distinct_1=text.distinct_n(answers, 1),
        distinct_2=text.distinct_n(answers, 2),
        repeated_ngram_rate=text.repeated_ngram_rate(answers),
        self_bleu=text.self_bleu(answers),
        top_token_share=text.top_token_share(answers),
        vendi=text.vendi(answers),
        latent_cosine=latents.latent_cosine(said.latents_NMZ),
        first_component_share=latents.first_component_share(said.latents_NMZ),
        first_token_entropy=float(np.mean(np.asarray(said.first_token_entropy_N, dtype=float))),
    )
