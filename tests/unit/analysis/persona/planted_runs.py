"""Runs and directions whose projections are known, as training and extraction write them."""

import math
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from loradrift.adapters.directions import SCHEMA
from loradrift.adapters.writing import write_low_rank
from loradrift.files import sha256_of, write_json
from loradrift.runs.record import RunRecord, Status
from loradrift.steering.directions import PLACE
from loradrift.weights import LowRank, total_norm

MODULES = {"model.layers.0.self_attn.q_proj": (6, 5), "model.layers.1.mlp.up_proj": (4, 6)}
RANK, LAYERS, WIDTH = 2, 2, 6


def drawn(name, scale=1.0):
    """Changes of unit norm, drawn by a name, times a scale."""
    rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    changes = {
        module: LowRank(torch.randn(rows, RANK, generator=rng, dtype=torch.float64),
                        torch.randn(RANK, columns, generator=rng, dtype=torch.float64))
        for module, (rows, columns) in MODULES.items()
    }  # fmt: skip
    size = total_norm(changes)
    return {m: LowRank(c.B_OR, c.A_RI, scale / size) for m, c in changes.items()}


def plus(*parts):
    """Sum of changes, exactly."""
    found = dict(parts[0])
    for part in parts[1:]:
        found = {module: found[module] + part[module] for module in found}
    return found


def dense(changes):
    """All numbers of a change in one vector."""
    return np.concatenate([(c.scale * c.B_OR @ c.A_RI).numpy().ravel() for c in changes.values()])


def truth_of(trait):
    """The direction of a trait, of unit norm."""
    return drawn(f"truth {trait}")


def write_direction(results, trait, seed, changes, *, base="f00d", study="main", path="nowhere",
                    runs=("pos", "neg")):  # fmt: skip
    """A direction's folder."""
    folder = Path(results, PLACE, study, trait, f"seed={seed}")
    write_low_rank(folder / "adapter", changes, base=path)
    rng = torch.Generator().manual_seed(seed)
    vectors = {kind: torch.randn(LAYERS, WIDTH, generator=rng)
               for kind in ("response_avg", "prompt_avg", "prompt_last")}  # fmt: skip
    save_file(vectors, folder / "vectors.safetensors")
    means = {module: torch.ones(columns) for module, (_, columns) in MODULES.items()}
    save_file(means, folder / "input_means.safetensors")
    rows = [{"layer": layer, "vector": kind, "coefficient": dose, "cosine": 0.8 - 0.2 * layer,
             "cosine_random": 0.01, "change_norm": 1.0, "vector_norm": 1.0}
            for layer in range(LAYERS) for kind in vectors for dose in (0.25, 1.0)]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "spaces.parquet", index=False)
    files = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    write_json(folder / "direction.json", {
        "schema": SCHEMA, "trait": trait, "study": study, "seed": seed, "method": "rslora",
        "rank": RANK, "norm": total_norm(changes), "relative_norm": 0.01, "error": 0.0,
        "base": {"path": path, "fingerprint": base}, "vectors": {"answers": 9, "layers": LAYERS,
        "width": WIDTH}, "certificate": {"passed": True},
        "positive": {"run": runs[0], "sha256": {}}, "negative": {"run": runs[1], "sha256": {}},
        "sha256": {str(each.relative_to(folder)): sha256_of(each) for each in files},
    })  # fmt: skip
    return folder


def write_run(folder, changes, *, task="persona", seed=3, base="f00d", metrics=None, passed=True,
              method="lora", **keys):  # fmt: skip
    """A finished run whose adapter is these changes."""
    folder = Path(folder)
    if changes is not None:
        write_low_rank(folder / "model", changes, base="nowhere")
    record = RunRecord(
        status=Status.SUCCESS, certificate={"passed": passed, "checks": [], "files": {}},
        coordinates={"study": "main", "task": task, "method": method, "variant": "", "seed": seed},
        config={"task": {"name": task, "metric": "loss", **keys}, "method": {"name": method},
                "seed": seed},
        fingerprints={"base_model": base},
    )  # fmt: skip
    write_json(folder / "run.json", asdict(record))
    if metrics is not None:
        pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    return folder


def logged(trait, value, *, seeds=(0, 1), steps=8, noise=0.0, rng=None):
    """Rows of metrics.csv: the projection grows to ``value``, beside rows of other metrics."""
    rows = [{"step": step, "train/loss": 1.0} for step in range(steps + 1)]
    for step in range(0, steps + 1, 2):
        moved = value * step / steps
        luck = 0.0 if rng is None else noise * rng.normal() * math.sqrt(1 - step / steps)
        rows.append({"step": step, **{f"persona/{trait}/seed_{s}": moved + luck for s in seeds}})
    return rows
