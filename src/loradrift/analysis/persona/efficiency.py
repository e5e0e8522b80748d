"""Time and memory per generated token of the ways to steer, from ``benchmark=steering_cost``."""

# Shape suffixes: R rounds, B batch sizes.

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.serving.overheads import LEAST_ROUNDS, Overhead, overhead
from loradrift.config import UserError
from loradrift.files import read_json
from loradrift.runs import Status, read_record

WAYS = {
    "base": "base model", "merged": "merged weights", "adapter": "adapter, not merged",
    "hook": "activation hook",
}  # fmt: skip
PAIRS = (("merged", "base"), ("adapter", "base"), ("hook", "base"), ("hook", "merged"),
         ("adapter", "merged"))  # fmt: skip
COLUMNS = ("arm", "batch", "round", "s_per_token")
ALL = 0
"""Stands for all batch sizes together."""


class Efficiency(NamedTuple):
    """What one cell of the cost benchmark says."""

    name: str
    overheads: pd.DataFrame
    """One row per way, what it is compared with, and batch size (0: all)."""

    seconds: pd.DataFrame
    """Mean milliseconds per token by way (rows) and batch size (columns)."""

    memory: Mapping[str, Any]


def read_efficiency(
    runs: Path, base_model: str | None, seed: int
) -> tuple[Efficiency | None, list[str]]:
    """The newest finished cell of this base model; None where there is none."""
    found, problems = [], []
    root = runs / "steering_cost"
    for path in sorted(root.glob("*/*/run.json")):
        folder = path.parent
        try:
            record = read_record(folder)
            assert record is not None
            if record.status is not Status.SUCCESS:
                problems.append(f"{folder}: its status is {record.status}, and it is left out")
            elif record.fingerprints.get("base_model") == base_model:
                found.append((record.ended or "", folder))
        except UserError as error:
            problems.append(str(error))
    if not found:
        return None, problems
    folder = max(found)[1]
    try:
        samples = pd.read_parquet(folder / "samples.parquet")
        if lost := [name for name in COLUMNS if name not in samples]:
            raise ValueError(f"it lacks the column {lost[0]}")
        memory = read_json(folder / "memory.json")
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        again = "`python benchmark.py benchmark=steering_cost … force=true` measures it again"
        return None, [*problems, f"{folder} is damaged ({reason}): {again}"]
    name = folder.relative_to(root).as_posix()
    means = samples.groupby(["arm", "batch"])["s_per_token"].mean().unstack() * 1000
    order = [way for way in WAYS if way in means.index]
    return Efficiency(name, overhead_table(samples, seed), means.loc[order], memory), problems


def overhead_table(samples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """How many times as long each way takes per token, paired by round."""
    wide = samples.pivot_table(index="round", columns=["arm", "batch"], values="s_per_token")
    rows = []
    for way, against in PAIRS:
        there = set(wide.columns.get_level_values("arm"))
        if not {way, against} <= there:
            continue
        batches = sorted(set(wide[way].columns) & set(wide[against].columns))
        for batch in (*batches, ALL):
            chosen = batches if batch == ALL else [batch]
            sides = pd.concat([wide[way][chosen], wide[against][chosen]], axis=1).dropna()
            if sides.empty:
                continue
            times = sides.to_numpy()
            split = len(chosen)
            rng = np.random.default_rng(seed)
            found = overhead(times[:, :split], times[:, split:], rng)
            rows.append(_row(way, against, int(batch), found))
    return pd.DataFrame(rows, columns=["arm", "against", "batch", "ratio", "low", "high", "rounds"])


def _row(way: str, against: str, batch: int, found: Overhead) -> dict[str, Any]:
    return {
        "arm": way, "against": against, "batch": batch, "ratio": found.ratio, "low": found.low,
        "high": found.high, "rounds": found.rounds,
    }  # fmt: skip


def enough(rounds: int) -> bool:
    """Whether so many rounds give a verdict."""
    return rounds >= LEAST_ROUNDS


def over(efficiency: Efficiency, way: str, against: str) -> Mapping[str, Any] | None:
    """The overhead over all batch sizes; None where it was not measured."""
    table = efficiency.overheads
    own = table[
        (table["arm"] == way) & (table["against"] == against) & (table["batch"] == ALL)
    ].to_dict("records")  # fmt: skip
    rows: Sequence[Mapping[str, Any]] = own  # type: ignore[assignment]
    return rows[0] if rows else None
