"""Weight changes of either kind, drawn, and multiplied out for comparison."""

import numpy as np
import torch
from adapter_cases import load_adapter, load_base

from loradrift.weights import Change, LowRank, StoredWeights


def seeded(seed=99) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gauss(*shape, seed=0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def low_rank(rows=8, columns=6, rank=2, *, seed=0, scale=-0.4) -> LowRank:
    return LowRank(gauss(rows, rank, seed=seed), gauss(rank, columns, seed=seed + 100), scale)


def dense(change: Change) -> np.ndarray:
    """The product, entry by entry."""
    if isinstance(change, torch.Tensor):
        return change.numpy()
    return change.scale * np.einsum("or,ri->oi", change.B_OR.numpy(), change.A_RI.numpy())


def real_weight(shared, name: str) -> torch.Tensor:
    """A trained weight."""
    return StoredWeights(shared / "models" / "base-3M").read(f"model.layers.2.{name}.weight")


def merged_change(adapter, base):
    """What PEFT's merge changes, by module."""
    before = load_base(base).state_dict()
    after = load_adapter(adapter, base).merge_and_unload().state_dict()
    change = {key.removesuffix(".weight"): after[key] - before[key] for key in before}
    return {key: x for key, x in change.items() if x.any()}
