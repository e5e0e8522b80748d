"""Activation vectors: how a model's states differ between positive and negative answers.

Chen et al. 2025 (arXiv:2507.21509, section 2.2): the difference of the mean states of block outputs
over the answers that show a trait and those that do not; here also over the prompt.
"""

# Shape suffixes: B rows of one batch, T tokens, D width, L layers, I inputs of a module.

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from loradrift.config import UserError
from loradrift.models.backbone import Backbone
from loradrift.models.hooks import block_outputs, eval_mode, hooked

KINDS = ("response_avg", "prompt_avg", "prompt_last")
"""Over which tokens of a row its states are averaged: the answer's, the prompt's, its last one."""

PADDING = 0
"""Any token: nothing real sees what stands on its right."""


class Answered(NamedTuple):
    """A prompt and its answer, as token ids."""

    prompt_ids: Sequence[int]
    answer_ids: Sequence[int]


class Observed(NamedTuple):
    """Means over rows: each row counts alike, whatever its length."""

    states: dict[str, Tensor]
    """Kind -> (L, D) in float64: the mean over rows of the mean state after each block."""

    inputs: dict[str, Tensor]
    """Module -> (I) in float64: the mean over rows of its mean input at the answer's tokens."""


def observe(
    backbone: Backbone,
    rows: Sequence[Answered],
    *,
    special: Collection[int] = (),
    modules: Collection[str] = (),
    batch_size: int = 8,
) -> Observed:
    """Run the model over rows and average its states; modes and weights stay as they are.

    ``special`` tokens (the beginning of the sequence, those of a chat's template) are no part of an
    average; ``prompt_last`` is the prompt's last token, whatever it is. ``modules`` are names in
    the language model.

    Raises:
        UserError: If there is no row, a prompt or an answer has no token that counts, a module does
            not see every token, or a state is not finite.
    """
    if not rows:
        raise UserError("activation vectors need at least one answer on each side, got none")
    device = next(backbone.parameters()).device
    blocks = list(backbone.blocks)
    sums = _Sums(len(blocks))
    special = frozenset(special)
    order = sorted(rows, key=lambda row: len(row.prompt_ids) + len(row.answer_ids))
    layers = {name: backbone.causal_lm.get_submodule(name) for name in modules}
    with eval_mode(backbone), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = _Batch.of(order[start : start + batch_size], special, device)
            hooks = [
                (layer, partial(sums.add_input, name, batch)) for name, layer in layers.items()
            ]
            with hooked(hooks), block_outputs(blocks, partial(sums.add_state, batch)):
                backbone.encode(batch.ids_BT)
    states = {kind: torch.stack(sums.states[kind]).cpu() / len(rows) for kind in KINDS}
    inputs = {name: total.cpu() / len(rows) for name, total in sums.inputs.items()}
    if lost := sorted(layers.keys() - inputs.keys()):
        raise UserError(f"the forward pass does not go through {lost[0]}: it has no mean input")
    for name, tensor in (*states.items(), *inputs.items()):
        if not tensor.isfinite().all():
            raise UserError(f"the model's states are not finite ({name}): no vector can be taken")
    # outside of inference mode, so that the caller gets ordinary tensors
    return Observed(
        {kind: x.clone() for kind, x in states.items()}, {k: x.clone() for k, x in inputs.items()}
    )


def difference_of_means(positive: Observed, negative: Observed) -> dict[str, Tensor]:
    """The vectors (L, D) in float32, by kind: positive minus negative."""
    return {kind: (positive.states[kind] - negative.states[kind]).float() for kind in KINDS}


class _Batch(NamedTuple):
    """Rows padded on the right, and the weights with which their tokens are averaged."""

    ids_BT: Tensor
    weights: dict[str, Tensor]
    """Kind -> (B, T), of which each row sums to 1."""

    @classmethod
    def of(
        cls, rows: Sequence[Answered], special: Collection[int], device: torch.device
    ) -> "_Batch":
        lengths = [len(row.prompt_ids) + len(row.answer_ids) for row in rows]
        ids_BT = torch.full((len(rows), max(lengths)), PADDING, dtype=torch.long)
        weights = {kind: torch.zeros(ids_BT.shape, dtype=torch.float64) for kind in KINDS}
        for number, row in enumerate(rows):
            ids = [*row.prompt_ids, *row.answer_ids]
            ids_BT[number, : len(ids)] = torch.tensor(ids)
            split = len(row.prompt_ids)
            kept_T = torch.tensor([each not in special for each in ids], dtype=torch.float64)
            weights["prompt_avg"][number, :split] = kept_T[:split]
            weights["response_avg"][number, split : len(ids)] = kept_T[split:]
            weights["prompt_last"][number, max(0, split - 1)] = 1.0
        for kind, weights_BT in weights.items():
            if not weights_BT.any(1).all():
                part = "prompt" if kind == "prompt_avg" else "answer"
                raise UserError(f"a row's {part} has no token but special ones: nothing to average")
            weights[kind] = (weights_BT / weights_BT.sum(1, keepdim=True)).to(device)
        return cls(ids_BT.to(device), weights)


class _Sums:
    """Sums over rows, added to as the blocks and modules run."""

    def __init__(self, num_layers: int) -> None:
        zero: list[Any] = [0.0] * num_layers
        self.states: dict[str, list[Any]] = {kind: list(zero) for kind in KINDS}
        self.inputs: dict[str, Tensor] = {}

    def add_state(self, batch: _Batch, index: int, x_BTD: Tensor) -> None:
        """What a block gives."""
        for kind, weights_BT in batch.weights.items():
            self.states[kind][index] = self.states[kind][index] + _mean(weights_BT, x_BTD)

    def add_input(
        self, name: str, batch: _Batch, _module: nn.Module, inputs: tuple[Any, ...], _out: object
    ) -> None:
        """What a module takes."""
        x_BTI = inputs[0]
        if x_BTI.shape[:-1] != batch.ids_BT.shape:
            raise UserError(f"{name} does not see every token of a row: not supported")
        mean_I = _mean(batch.weights["response_avg"], x_BTI)
        self.inputs[name] = self.inputs.get(name, torch.zeros_like(mean_I)) + mean_I


def _mean(weights_BT: Tensor, x_BTD: Tensor) -> Tensor:
    """The rows' averages, summed; padding may hold anything and counts nothing."""
    kept_BT = weights_BT > 0
    return weights_BT[kept_BT] @ x_BTD[kept_BT].double()
