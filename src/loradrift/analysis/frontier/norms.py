"""How far the weights of a run have moved: the update's norm over all linear layers."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from loradrift import weights
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.frontier.reading import FrontierRun, is_frozen
from loradrift.analysis.tables import code_version
from loradrift.analysis.weights.base_models import base_folder, base_of
from loradrift.analysis.weights.modules import changes_of
from loradrift.caching import cached, entry
from loradrift.config import UserError
from loradrift.weights import StoredWeights, layer_of


def update_norms(
    runs: Sequence[FrontierRun], folder: Path, memory: Path, problems: list[str]
) -> dict[FrontierRun, float]:
    """``|dW| / |W|`` of each run, Frobenius over the linear layers of all blocks.

    0 of a frozen backbone; a line of ``problems`` where weights cannot be read.

    Args:
        runs: Those that have come to their end.
        folder: Of all runs; a relative name of a base model is looked up beside it too.
        memory: Where norms are remembered.
        problems: Takes the lines.
    """
    found = {run: 0.0 for run in runs if is_frozen(run.arm)}
    by_base: dict[str, list[FrontierRun]] = defaultdict(list)
    for run in runs:
        if not is_frozen(run.arm):
            by_base[run.record.fingerprints["base_model"]].append(run)
    for own in by_base.values():
        try:
            path = base_folder(*base_of([run.run for run in own]), folder, memory)
        except UserError as error:
            problems.append(f"update norms: {error}")
            continue
        base = StoredWeights(path)
        for run in own:
            try:
                found[run] = relative_norm(run.run, base, memory)
            except UserError as error:
                problems.append(f"update norm of {run.place}: {error}")
    return found


def relative_norm(run: Run, base: StoredWeights, memory: Path) -> float:
    """One run's norm, remembered by its files."""
    files = sorted((run.folder / "model").glob("*.safetensors*"))
    stamps = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = {"what": "update norm", "code": code_version(), "base": str(base.folder), "files": stamps}

    def make(path: Path) -> None:
        changes = changes_of(run, base).values()  # each is read when it is asked for, and let go
        squares = {
            "change": math.fsum(weights.norm(weights.read_change(c)) ** 2 for c in changes),
            "base": math.fsum(weights.norm(base.matrix(f"{m}.weight")) ** 2 for m in linear(base)),
        }
        pd.DataFrame([squares]).to_parquet(path, index=False)

    table = cached(entry(memory, key, ".parquet"), make, pd.read_parquet)
    return float((table["change"] / table["base"]).pow(0.5).iloc[0])


def linear(base: StoredWeights) -> list[str]:
    """The linear layers of all blocks."""
    return [name for name in weights.read_full(base, base).modules if layer_of(name) is not None]
