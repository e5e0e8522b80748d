"""What requests add to a block's output, each row its own."""

# Shape suffixes: B rows of one batch, T tokens, D width.

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.generation.base import Request
from loradrift.models.backbone import Backbone
from loradrift.models.hooks import Hook, hooked


def check_interventions(requests: Sequence[Request], backbone: Backbone) -> None:
    """Refuse a layer that the model does not have, and a vector of another width.

    Raises:
        UserError: Names the request, the rule and the value.
    """
    depth = len(backbone.blocks)
    width = backbone.causal_lm.config.get_text_config().hidden_size
    for request in requests:
        if (change := request.intervention) is None:
            continue
        name = f"request {request.id}: its intervention's"
        if not 0 <= change.layer < depth:
            raise UserError(f"{name} layer must be from 0 to {depth - 1}, got {change.layer}")
        if len(change.vector) != width:
            raise UserError(f"{name} vector must have {width} values, got {len(change.vector)}")


def intervening(requests: Sequence[Request], backbone: Backbone) -> AbstractContextManager[None]:
    """Add each row's own ``coefficient * vector`` to its layer's output, at every token."""
    rows = [(row, x.intervention) for row, x in enumerate(requests) if x.intervention]
    added: dict[int, Tensor] = {}
    for row, change in rows:
        vector_D = change.coefficient * torch.tensor(change.vector)
        delta_B1D = added.setdefault(change.layer, torch.zeros(len(requests), 1, len(vector_D)))
        delta_B1D[row, 0] = vector_D
    return hooked((backbone.blocks[layer], _adding(delta)) for layer, delta in added.items())


def _adding(delta_B1D: Tensor) -> Hook:
    def hook(_module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple | list):
            return (output[0] + delta_B1D.to(output[0]), *output[1:])
        return output + delta_B1D.to(output)

    return hook
