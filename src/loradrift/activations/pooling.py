"""From token activations to the rows that are compared: one per example, or one per token.

Padding and special tokens never enter: a beginning-of-sequence token carries activations so large
that it would decide every similarity alone (Sun et al. 2024, arXiv:2402.17762).
"""

# Shape suffixes: B rows of one batch, T tokens, D width, K pooled rows.

from dataclasses import dataclass

import torch
from torch import Tensor

from loradrift.activations.probe import Probe
from loradrift.config import check


def mean(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Average of the masked tokens of each row, in float32, ``(B, D)``."""
    # Not a product with the mask: padding may hold inf or nan, and 0 * nan is nan.
    content_BTD = x_BTD.float().masked_fill(~mask_BT.unsqueeze(-1), 0.0)
    return content_BTD.sum(1) / mask_BT.sum(1, keepdim=True)


def last(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The last masked token of each row, in float32, ``(B, D)``."""
    positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B = (positions_T * mask_BT).argmax(1)
    return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), last_B].float()


def tokens(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Every masked token as a row of its own, in reading order and float32, ``(K, D)``."""
    return x_BTD[mask_BT].float()


POOLINGS = {"mean": mean, "last": last, "tokens": tokens}


@dataclass(frozen=True)
class Pooling:
    """Which pooling, by name, and which tokens of a probe it sees.

    Raises:
        UserError: If the name is unknown or ``max_tokens`` is not positive.
    """

    name: str = "mean"
    """``mean`` or ``last`` (one row per example), or ``tokens`` (one row per token)."""

    max_tokens: int | None = 2048
    """Size of the sample with ``tokens``; None takes every token."""

    seed: int = 0
    """Draws the sample of ``tokens``; unrelated to the training seed, so that rows stay aligned."""

    def __post_init__(self) -> None:
        key = "callbacks.activation_dump"
        check(self.name in POOLINGS, f"{key}.pooling", " or ".join(POOLINGS), self.name)
        positive = self.max_tokens is None or self.max_tokens > 0
        check(positive, f"{key}.max_tokens", "positive", self.max_tokens)

    @property
    def label(self) -> str:
        """Everything that decides the pooled rows, in one string."""
        if self.name == "tokens" and self.max_tokens is None:
            return "tokens(all)"
        if self.name == "tokens":
            return f"tokens(max_tokens={self.max_tokens}, seed={self.seed})"
        return self.name

    def masks(self, probe: Probe) -> tuple[Tensor, ...]:
        """Choose the tokens to pool, by content alone: for each batch a bool mask ``(B, T)``.

        Raises:
            ValueError: If there is nothing to pool: in any row, or for ``tokens`` in all of them.
        """
        masks = tuple(batch["content_mask"] for batch in probe.batches)
        if self.name == "tokens":
            return self._sample(masks)
        counts = torch.cat([mask_BT.sum(1) for mask_BT in masks]).tolist()
        empty = [row_id for row_id, count in zip(probe.ids, counts, strict=True) if not count]
        if empty:
            raise ValueError(f"probe rows without any content token cannot be pooled: {empty}")
        return masks

    def num_rows(self, probe: Probe) -> int:
        """Rows of the probe that ``tokens`` gives."""
        return sum(int(mask_BT.sum()) for mask_BT in self.masks(probe))

    def __call__(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Pool one batch; see :func:`mean`, :func:`last` and :func:`tokens`."""
        return POOLINGS[self.name](x_BTD, mask_BT)

    def _sample(self, masks: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        counts = [int(mask_BT.sum()) for mask_BT in masks]
        if not sum(counts):
            raise ValueError("the probe has no content token, so tokens pooling finds nothing")
        if self.max_tokens is None:
            return masks
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.zeros(sum(counts), dtype=torch.bool)
        chosen[torch.randperm(sum(counts), generator=generator)[: self.max_tokens]] = True
        sampled = []
        for mask_BT, flags in zip(masks, torch.split(chosen, counts), strict=True):
            sample_BT = torch.zeros_like(mask_BT)
            sample_BT[mask_BT] = flags.to(mask_BT.device)
            sampled.append(sample_BT)
        return tuple(sampled)


SAMPLE = 2048
"""Rows that stand for all rows of a larger dump where a statistic needs every pair of them."""


def row_sample(num_rows: int) -> Tensor:
    """Indices of at most :data:`SAMPLE` rows, in order: the same draw for every dump of a run."""
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(0))
    return order[:SAMPLE].sort().values
