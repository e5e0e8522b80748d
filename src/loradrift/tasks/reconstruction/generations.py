"""What a validation generated, for those who watch for a collapse."""

# Shape suffixes: N answered rows, M latents, Z numbers of a latent.

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Generations:
    """Answers of one validation with what they were made of; row i is the same everywhere."""

    token_ids: list[list[int]]
    """Greedy answers, without the token that ended them."""

    texts: list[str]
    latents_NMZ: Tensor
    """After quantisation."""

    soft_rms: float
    embedding_rms: float
    first_token_entropy_N: list[float]
    """Of the first token's distribution, in nats."""

    gold_loss_N: list[float]
    """Teacher-forced, in nats per token."""

    swapped_gold_loss_N: list[float]
    """The same with the latents of a row with another context."""
