"""What a task says after a validation, for the collapse detector."""

# Shape suffixes: N answered rows, M latents, Z numbers of a latent.

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Generations:
    """Answers of one validation with what they were made of; row i is the same everywhere."""

    token_ids: Sequence[Sequence[int]]
    """Greedy answers, (N): ids without padding and without ``eos``; an answer may be empty."""

    texts: Sequence[str]
    """The same answers as text, (N)."""

    latents_NMZ: ArrayLike
    """What the soft prompts were made from, after quantisation."""

    soft_rms: float
    """Root mean square over all numbers of the soft prompts."""

    embedding_rms: float
    """The same of the model's token embeddings."""

    first_token_entropy_N: ArrayLike
    """Entropy of the distribution over the vocabulary at the first answer token, in nats."""

    gold_loss_N: ArrayLike
    """Teacher-forced loss of the gold answer, in nats per token."""

    swapped_gold_loss_N: ArrayLike
    """The same with the latents of another context; NaN for rows that were given their own."""
