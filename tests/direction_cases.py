"""A direction's folder, as an analysis writes it, without one."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from loradrift.adapters.directions import SCHEMA
from loradrift.adapters.writing import write_low_rank
from loradrift.files import sha256_of
from loradrift.weights import LowRank, total_norm

MODULES = {"model.layers.0.self_attn.q_proj": (32, 32), "model.layers.1.mlp.up_proj": (64, 32)}


def drawn_changes(seed: int = 0, rank: int = 2, modules=MODULES) -> dict[str, LowRank]:
    """A random change of each module."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(torch.randn(o, rank, generator=draw), torch.randn(rank, i, generator=draw))
        for name, (o, i) in modules.items()
    }


def write_direction(
    folder: Path,
    *,
    trait: str = "kind",
    study: str = "main",
    seed: int = 1,
    changes: Mapping[str, LowRank] | None = None,
    base: Path = Path("base"),
    fingerprint: str = "f" * 64,
    layers: int = 2,
    width: int = 32,
    **facts,
) -> Path:
    """Write known changes and drawn vectors; ``facts`` replace those that they would have."""
    changes = changes or drawn_changes(seed)
    folder.mkdir(parents=True)
    write_low_rank(folder / "adapter", changes, base=str(base))
    draw = torch.Generator().manual_seed(seed)
    kinds = ("response_avg", "prompt_avg", "prompt_last")
    vectors = {kind: torch.randn(layers, width, generator=draw) for kind in kinds}
    save_file(vectors, folder / "vectors.safetensors")
    means = {name: torch.randn(x.shape[1], generator=draw) for name, x in changes.items()}
    save_file(means, folder / "input_means.safetensors")
    side = {"run": "runs/none", "sha256": {}}
    names = [
        "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        "vectors.safetensors", "input_means.safetensors",
    ]  # fmt: skip
    written = {
        "schema": SCHEMA, "trait": trait, "study": study, "seed": seed, "method": "rslora",
        "rank": max(x.rank for x in changes.values()), "norm": total_norm(changes),
        "relative_norm": 0.01, "error": 1e-8, "positive": side, "negative": side,
        "base": {"path": str(base), "fingerprint": fingerprint},
        "vectors": {"answers": 8, "layers": layers, "width": width},
        "certificate": {"passed": True, "checks": [], "files": {}},
        "sha256": {name: sha256_of(folder / name) for name in names},
    }  # fmt: skip
    (folder / "direction.json").write_text(json.dumps(written | facts))
    return folder
