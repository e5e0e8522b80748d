"""What requests add to a block's output, each row its own, at the positions that it names."""

# Shape suffixes: B rows of one batch, T tokens of one forward pass, D width.

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.generation.base import Request
from loradrift.models.backbone import Backbone
from loradrift.models.hooks import hooked


def check_interventions(requests: Sequence[Request], backbone: Backbone) -> None:
    """Refuse a layer that the model does not have, and a vector that does not fit or overflows.

    Raises:
        UserError: Names the request, the rule and the value.
    """
    depth = len(backbone.blocks)
    width = backbone.causal_lm.config.get_text_config().hidden_size
    for request in requests:
        for change in request.interventions:
            name = f"request {request.id}: its intervention's"
            if not 0 <= change.layer < depth:
                raise UserError(f"{name} layer must be from 0 to {depth - 1}, got {change.layer}")
            if len(change.vector) != width:
                got = len(change.vector)
                raise UserError(f"{name} vector must have {width} values, got {got}")
            if overflows(torch.tensor(change.vector), change.coefficient):
                rule = "keep its square finite in float32 times its coefficient"
                raise UserError(f"{name} vector must {rule}, got {change.coefficient:g}")


def intervening(
    requests: Sequence[Request], texts: Sequence[Sequence[int]], backbone: Backbone
) -> AbstractContextManager[None]:
    """Add each row's own vectors to its layers' outputs, at the positions that they name.

    The block is one reading of the batch, and the tokens that follow: rows are padded on the left,
    and each pass goes on where the one before ended, with what that has left in the cache.

    Args:
        requests: What is asked, a row each; their prompts begin their texts.
        texts: Tokens of the first pass, without the padding.
        backbone: The model.
    """
    longest = max(map(len, texts))
    # where each row's answer begins, among the columns of all passes
    starts = [
        longest - len(text) + len(request.prompt_ids)
        for request, text in zip(requests, texts, strict=True)
    ]
    layers: dict[int, dict[str, Tensor]] = {}
    for row, request in enumerate(requests):
        for change in request.interventions:
            added_D = _added(change.vector, change.coefficient)
            own = layers.setdefault(change.layer, {})
            if change.positions not in own:
                own[change.positions] = torch.zeros(len(requests), 1, len(added_D))
            own[change.positions][row, 0] += added_D
    weight = backbone.causal_lm.get_output_embeddings().weight
    starts_B1 = torch.tensor(starts, device=weight.device)[:, None]
    return hooked(
        (
            backbone.blocks[layer],
            _Adding({positions: x.to(weight) for positions, x in own.items()}, starts_B1),
        )
        for layer, own in layers.items()
    )


def overflows(vector_D: Tensor, coefficient: float) -> bool:
    """Whether a norm would take what is added for infinite, and make zeros of it."""
    return not (coefficient * vector_D.double()).float().square().sum().isfinite()


def _added(vector: Sequence[float], coefficient: float) -> Tensor:
    return (coefficient * torch.tensor(vector, dtype=torch.float64)).float()


class _Adding:
    """A hook of one block that counts the columns that have gone through it."""

    def __init__(self, added: Mapping[str, Tensor], starts_B1: Tensor) -> None:
        self._added = added
        self._starts_B1 = starts_B1
        self._last = int(starts_B1.max())
        self._seen = 0

    def __call__(self, _module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple | list):
            return (self._changed(output[0]), *output[1:])
        return self._changed(output)

    def _changed(self, x_BTD: Tensor) -> Tensor:
        begin, self._seen = self._seen, self._seen + x_BTD.shape[1]
        for positions, added_B1D in self._added.items():
            if positions == "all" or (positions == "response" and begin >= self._last - 1):
                x_BTD = x_BTD + added_B1D.to(x_BTD)
                continue
            if positions == "prompt" and begin >= self._last:
                continue
            columns_T = torch.arange(begin, self._seen, device=x_BTD.device)
            if positions == "prompt":
                chosen_BT = columns_T < self._starts_B1
            else:
                chosen_BT = columns_T >= self._starts_B1 - 1
            x_BTD = x_BTD + chosen_BT[..., None] * added_B1D.to(x_BTD)
        return x_BTD
