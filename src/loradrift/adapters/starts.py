"""Adapters that began with a part of the base weights (PiSSA, OLoRA), told from their factors."""

# Shape suffixes: O outputs, I inputs, R rank.

from collections.abc import Iterable

import torch
from torch import Tensor

from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.adapter_files import AdapterFiles, Factors
from loradrift.adapters.check_result import Finding, fails
from loradrift.weights import inner, norm

MOVES_BASE = ("corda", "loftq", "lora_ga", "olora", "pissa")
"""Starts of LoRA that take the adapter's first product out of the base weight."""

MOST_LAYERS = 16
"""Layers that are looked at."""


def takes_from_base(files: AdapterFiles) -> str | None:
    """Why the factors are not the change against the base model, by the configuration."""
    start = str(files.config.get("init_lora_weights"))
    if not start.startswith(MOVES_BASE):
        return None
    return (
        f"{files.folder / CONFIG}: init_lora_weights={start} took a part out of the base weight, "
        "so the factors are not the change against it; save the adapter converted "
        "(path_initial_model_for_weight_conversion)"
    )


def check_start(files: AdapterFiles, layers: Iterable[tuple[Tensor, Factors]]) -> Finding | None:
    """What fails where the factors are a part of whole base weights, and the JSON denies it.

    PiSSA's and OLoRA's factors are at first what the weight W is in B's own directions, and the
    rest of W has nothing there. Of an adapter that was merged into W, the rest has its usual share
    there; of any other one, B A and W have nothing in common.

    Args:
        files: The adapter.
        layers: The base weight (O, I) of each adapted layer, and what the files add to it.
    """
    if str(files.config.get("init_lora_weights")).startswith(MOVES_BASE):
        return None
    alike, rest, sizes = [], [], []
    for weight_OI, factors in layers:
        change = factors.low_rank
        size = norm(change)
        if not size or factors.magnitude_O is not None or change.rank >= min(change.shape):
            continue
        span_OR = torch.linalg.qr(change.B_OR).Q
        inside = norm(span_OR.T @ weight_OI)
        product = inner(weight_OI, change)
        alike.append((product / size / inside) ** 2 if inside else 0.0)
        left_OI = weight_OI - product / size**2 * change.scale * change.B_OR @ change.A_RI
        usual = norm(left_OI) * (change.rank / len(weight_OI)) ** 0.5
        rest.append((norm(span_OR.T @ left_OI) / usual) ** 2 if usual else 1.0)
        sizes.append(norm(change.B_OR) / norm(change.A_RI))
        if len(alike) == MOST_LAYERS:
            break
    if len(alike) < 3 or not (_middle(alike) >= 0.5 and _middle(rest) <= 0.5):
        return None
    start = "pissa" if 0.8 < _middle(sizes) < 1.25 else "olora"
    says = f"{CONFIG} says init_lora_weights={files.config.get('init_lora_weights')}"
    return fails(
        f"{says}, and B A is {_middle(alike) ** 0.5:.2f} alike to what the base weights are in "
        f"B's directions, as init_lora_weights={start} starts it: PEFT has to take it out of them",
        alike=_middle(alike),
    )


def _middle(values: list[float]) -> float:
    return float(torch.tensor(values).median())
