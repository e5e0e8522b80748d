"""A model shows what its training relies on, with two rows, before it is trained."""

# Shape suffixes: B rows, T tokens, D width, V vocabulary.

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from loradrift.config import UserError
from loradrift.models.backbone import Backbone, trainable_parameters
from loradrift.models.hooks import block_outputs, eval_mode

ROUNDING = 1e-4
"""How far two ways to compute one token's states may be apart, relative to their norm."""

EXPERT = re.compile(r"experts?\.\d+\.")
"""A part of a mixture of experts that two rows need not reach."""


def try_out(
    backbone: Backbone, path: str, ids_BT: Tensor, length: int, *, reads_logits: bool = True
) -> None:
    """Run two rows as training does; modes and the random state are afterwards as before.

    The states of a row must be the same alone and padded beside another, since attention gets no
    mask. Each block must run once and give states, which the dumps take. What trains must be on
    the way to the states.

    Args:
        backbone: As it will train.
        path: What ``model.path`` is, for the errors.
        ids_BT: Two rows, the second padded on the right.
        length: Tokens of the second.
        reads_logits: Whether the scores of next tokens are used.

    Raises:
        UserError: If the model cannot be trained here; it says why.
    """
    ids_BT = ids_BT.to(next(backbone.parameters()).device)
    alone_1T = ids_BT[1:, :length]
    generators = torch.random.fork_rng([ids_BT.device] if ids_BT.is_cuda else [])
    with eval_mode(backbone), generators, torch.compiler.set_stance("force_eager"):
        with _failures_named(path), torch.no_grad():
            padded_BTD = _encode_watched(backbone, path, ids_BT)
        with _failures_named(path):
            alone_1TD = backbone.encode(alone_1T)
        _check_padding(path, padded_BTD[1:, :length], alone_1TD.detach())
        _check_reached(backbone, path, alone_1TD)
        if reads_logits:
            with _failures_named(path), torch.no_grad():
                own_1TV = backbone.causal_lm(input_ids=alone_1T, use_cache=False).logits
                read_1TV = backbone.next_token_logits(alone_1TD)
            _check_logits(path, own_1TV, read_1TV)


def _encode_watched(backbone: Backbone, path: str, ids_BT: Tensor) -> Tensor:
    """The final states, from blocks that each ran once and gave states of every token."""
    blocks = list(backbone.blocks)
    runs = [0] * len(blocks)
    shapes: set[tuple[int, ...]] = set()

    def watch(index: int, x_BTD: Any) -> None:
        runs[index] += 1
        shapes.add(tuple(x_BTD.shape) if isinstance(x_BTD, Tensor) else ())

    with block_outputs(blocks, watch):
        states_BTD = backbone.encode(ids_BT)
    if set(runs) != {1}:
        raise _refusal(path, f"a forward pass runs its blocks {runs} times, and must run each once")
    if len(shapes) != 1 or next(iter(shapes))[:-1] != ids_BT.shape:
        raise _refusal(path, "its blocks give something else than one state for each token")
    if states_BTD.shape != (*ids_BT.shape, backbone.width):
        wanted = (*ids_BT.shape, backbone.width)
        raise _refusal(path, f"its states have shape {tuple(states_BTD.shape)}, not {wanted}")
    return states_BTD


def _check_padding(path: str, padded_1TD: Tensor, alone_1TD: Tensor) -> None:
    """No token has seen the padding after it, nor another row.

    A mask would hide the padding from a model that is not causal. But its loss on next tokens would
    be of tokens that it has seen, and no first token would be the same in all rows.
    """
    if not alone_1TD.isfinite().all():
        raise _refusal(path, "its states are not finite")
    gaps_1T = (padded_1TD - alone_1TD).norm(dim=-1) / alone_1TD.norm(dim=-1).clamp_min(1e-30)
    if (gap := float(gaps_1T.max())) > ROUNDING:
        raise _refusal(
            path,
            f"a padded row's states differ from the same row's alone by {gap:.2g} of their norm: "
            "attention is not causal, or positions depend on the longest row",
        )


def _check_reached(backbone: Backbone, path: str, states_1TD: Tensor) -> None:
    """Every parameter that trains is on the way to the states."""
    found = _parameters_behind(states_1TD)
    found |= {id(p) for p in backbone.causal_lm.get_output_embeddings().parameters()}
    trained = trainable_parameters(backbone)
    lost = [name for name, p in trained.items() if id(p) not in found and not EXPERT.search(name)]
    if lost:
        name = lost[0].removeprefix("lm.").removeprefix("base_model.model.")
        layer, adapted, _ = name.partition(".lora_")
        layer = ".".join(layer.split(".")[-2:])
        hint = f"; leave {layer} out of method.target_modules" if adapted else ""
        raise _refusal(
            path,
            f"{len(lost)} of the {len(trained)} parameters that should train change nothing in its "
            f"states, {name} among them{hint}",
        )


def _parameters_behind(output: Tensor) -> set[int]:
    """The ids of the parameters that the output's gradient would reach; none is computed."""
    seen: set[Any] = set()
    found: set[int] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(id(getattr(node, "variable", None)))
        waiting += [following for following, _ in node.next_functions]
    return found


def _check_logits(path: str, own_1TV: Tensor, read_1TV: Tensor) -> None:
    """The scores of next tokens are the model's own."""
    gap = float((own_1TV - read_1TV).norm() / own_1TV.norm().clamp_min(1e-30))
    if gap > ROUNDING:
        raise _refusal(
            path,
            f"its scores of next tokens are not its output layer's, by {gap:.2g} of their norm; "
            "callbacks.forgetting.enabled=false measures none where a task needs none",
        )


@contextmanager
def _failures_named(path: str) -> Iterator[None]:
    """Whatever the model's code raises of two ordinary rows becomes one line."""
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise _refusal(path, f"its forward pass fails: {reason}") from error


def _refusal(path: str, reason: str) -> UserError:
    return UserError(f"model.path={path} cannot be used: {reason}")
