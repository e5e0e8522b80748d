"""Which label words the untrained model finds likelier (Brown et al. 2020, arXiv:2005.14165)."""

# Shape suffixes: B rows, T tokens, V vocabulary.

from collections.abc import Sequence

import torch
from torch import Tensor

from loradrift.models import Backbone


@torch.inference_mode()
def answer_log_likelihoods(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    pad_id: int,
    batch_size: int,
) -> Tensor:
    """Log-likelihood of each answer after each prompt.

    Args:
        backbone: In eval mode.
        prompts: Token ids of each prompt.
        answers: Token ids of each answer.
        pad_id: Fills the right.
        batch_size: Rows at a time.

    Returns:
        float32 (prompts, answers), in nats, summed over the answer's tokens.
    """
    columns = []
    for answer in answers:
        rows = [[*prompt, *answer] for prompt in prompts]
        parts = [
            _score(backbone, rows[i : i + batch_size], len(answer), pad_id)
            for i in range(0, len(rows), batch_size)
        ]
        columns.append(torch.cat(parts))
    return torch.stack(columns, dim=1)


def _score(backbone: Backbone, rows: list[list[int]], num_scored: int, pad_id: int) -> Tensor:
    """Log-likelihood (B,) of the last ``num_scored`` tokens of each row."""
    width = max(len(row) for row in rows)
    device = next(backbone.parameters()).device
    ids_BT = torch.tensor([row + [pad_id] * (width - len(row)) for row in rows], device=device)
    ends_B = torch.tensor([len(row) for row in rows], device=device)
    places_BA = ends_B[:, None] - num_scored + torch.arange(num_scored, device=device)
    hidden_BTD = backbone.encode(ids_BT)
    rows_B1 = torch.arange(len(rows), device=device)[:, None]
    logits_BAV = backbone.next_token_logits(hidden_BTD[rows_B1, places_BA - 1])
    targets_BA1 = ids_BT.gather(1, places_BA)[..., None]
    return logits_BAV.float().log_softmax(-1).gather(2, targets_BA1).squeeze(-1).sum(1)
