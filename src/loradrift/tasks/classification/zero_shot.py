"""Which label words the untrained model finds likelier (Brown et al. 2020, arXiv:2005.14165)."""

# Shape suffixes: B rows, A answer tokens, D width, V vocabulary, T tokens.

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from loradrift.models import Backbone


class Answered(NamedTuple):
    """A prompt with each of its answers."""

    ids: Sequence[Sequence[int]]
    """Token ids of prompt and answer, one list for each answer."""

    start: int
    """Where the answers begin; the tokens before are the same in all lists, at least one."""


@torch.inference_mode()
def answer_log_likelihoods(
    backbone: Backbone, prompts: Sequence[Answered], *, pad_id: int, batch_size: int
) -> Tensor:
    """Log-likelihood of each answer after its prompt.

    Args:
        backbone: In eval mode.
        prompts: All with equally many answers.
        pad_id: Fills the right.
        batch_size: Rows at a time.

    Returns:
        float32 (prompts, answers), in nats, summed over the answer's tokens.
    """
    columns = []
    for answer in range(len(prompts[0].ids)):
        rows = [([*prompt.ids[answer]], prompt.start) for prompt in prompts]
        parts = [
            _score(backbone, rows[i : i + batch_size], pad_id)
            for i in range(0, len(rows), batch_size)
        ]
        columns.append(torch.cat(parts))
    return torch.stack(columns, dim=1)


def _score(backbone: Backbone, rows: Sequence[tuple[list[int], int]], pad_id: int) -> Tensor:
    """Log-likelihood (B,) of each row's tokens from its start on."""
    device = next(backbone.parameters()).device
    width = max(len(ids) for ids, _ in rows)
    ids_BT = torch.tensor([ids + [pad_id] * (width - len(ids)) for ids, _ in rows], device=device)
    ends_B1 = torch.tensor([[len(ids)] for ids, _ in rows], device=device)
    starts_B1 = torch.tensor([[start] for _, start in rows], device=device)
    longest = int((ends_B1 - starts_B1).max())
    places_BA = (ends_B1 - longest + torch.arange(longest, device=device)).clamp(min=1)
    hidden_BTD = backbone.encode(ids_BT)
    rows_B1 = torch.arange(len(rows), device=device)[:, None]
    logits_BAV = backbone.next_token_logits(hidden_BTD[rows_B1, places_BA - 1])
    targets_BA1 = ids_BT.gather(1, places_BA)[..., None]
    scores_BA = logits_BAV.float().log_softmax(-1).gather(2, targets_BA1).squeeze(-1)
    return scores_BA.masked_fill(places_BA < starts_B1, 0.0).sum(1)
