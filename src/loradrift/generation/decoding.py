"""Answers of a transformers model, token by token, each row its own prompt."""

# Shape suffixes: B rows of one batch, T tokens, V vocabulary.

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loradrift.config import UserError


class NotFiniteError(UserError):
    """A model that has overflowed has no likeliest token."""


class Answer(NamedTuple):
    """The tokens of one row, and when each came, in seconds since ``started``."""

    token_ids: list[int]
    times_s: list[float]


class Padded(NamedTuple):
    """Prompts, padded on the left."""

    ids_BT: Tensor
    mask_BT: Tensor


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> Padded:
    """Rows that end together.

    >>> left_padded([[5], [6, 7]], torch.device("cpu")).ids_BT.tolist()
    [[0, 5], [6, 7]]
    """
    longest = max(map(len, prompts))
    lacking = [longest - len(prompt) for prompt in prompts]
    ids = [[0] * short + list(prompt) for short, prompt in zip(lacking, prompts, strict=True)]
    mask = [[0] * short + [1] * (longest - short) for short in lacking]
    return Padded(torch.tensor(ids, device=device), torch.tensor(mask, device=device))


def stop_tokens(lm: Any) -> set[int]:
    """The tokens that end an answer, by the model's own configuration."""
    found = getattr(lm.generation_config, "eos_token_id", None) or lm.config.eos_token_id
    return set(found if isinstance(found, list) else [found]) - {None}


@torch.inference_mode()
def decode(
    lm: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float,
    seeds: Sequence[int],
    stops: Collection[int],
    started: float,
) -> list[Answer]:
    """Answer prompts in one batch, with a cache of keys and values.

    Args:
        lm: A causal language model of transformers, in eval mode.
        prompts: Token ids of each row.
        max_tokens: Tokens of an answer.
        temperature: 0 takes the likeliest token.
        seeds: One for each row's draws.
        stops: Tokens that end an answer, of which they are the last.
        started: Reading of ``perf_counter`` from which times count.

    Raises:
        UserError: If the architecture has no such cache.
        NotFiniteError: If the logits of any row are not finite.
    """
    padded = left_padded(prompts, lm.device)
    ids_BT, mask_BT = padded
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    answers = [Answer([], []) for _ in prompts]
    going = set(range(len(prompts)))
    cache = None
    for _ in range(max_tokens):
        inputs = inputs_for(lm, ids_BT, mask_BT, cache, last_only=True)
        output = lm(**inputs, use_cache=True)
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise UserError(f"{type(lm).__name__} keeps no keys and values, which engine=hf needs")
        chosen = _choose(output.logits[:, -1].float(), temperature, generators)
        now = perf_counter() - started
        for row in sorted(going):
            answers[row].token_ids.append(chosen[row])
            answers[row].times_s.append(now)
        going -= {row for row in going if chosen[row] in stops}
        if not going:
            break
        ids_BT = torch.tensor(chosen, device=lm.device)[:, None]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(chosen), 1)], dim=1)
    return answers


def inputs_for(
    lm: Any, ids_BT: Tensor, mask_BT: Tensor, cache: Any = None, *, last_only: bool = False
) -> dict[str, Any]:
    """Arguments of the model's forward pass, of those that its architecture takes.

    Args:
        lm: The model.
        ids_BT: Tokens that it has not seen.
        mask_BT: True for real tokens, those seen before included.
        cache: What it keeps of those; None at first.
        last_only: Logits are wanted after the last token alone: those of a long prompt take much
            memory and time.
    """
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
    takes = _arguments(type(lm).forward)
    inputs = {"input_ids": ids_BT, "attention_mask": mask_BT, "past_key_values": cache}
    if "position_ids" in takes:  # BLOOM and MPT count by the mask
        inputs["position_ids"] = positions_BT
    if last_only and "logits_to_keep" in takes:
        inputs["logits_to_keep"] = 1
    return inputs


@functools.cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    """Names of the arguments that it takes."""
    return frozenset(inspect.signature(function).parameters)


def _choose(
    logits_BV: Tensor, temperature: float, generators: Sequence[torch.Generator]
) -> list[int]:
    largest = logits_BV.max(-1)  # what is not a number counts as the largest here
    if not largest.values.isfinite().all():
        raise NotFiniteError("the model's logits are not finite")
    if not temperature:
        likeliest: list[int] = largest.indices.tolist()
        return likeliest
    shares_BV = (logits_BV / temperature).softmax(-1).cpu()
    draws = zip(shares_BV, generators, strict=True)
    return [int(torch.multinomial(shares_V, 1, generator=each)) for shares_V, each in draws]
