"""From how many adapters on one engine with all of them takes less memory than merged engines."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.serving.plans import Plan

IN_TURN = "Merged engines answer in turn, in one process; their memory is that of a process each."
"""How merged engines are measured."""

KEYS = ("memory_gb", "kv_cache_gb", "gpu_peak_gb")


def memory_table(memory: Mapping[str, Mapping[str, float | None]], plan: Plan) -> pd.DataFrame:
    """One row per arm, in GB; ``merged`` is the mean of one merged model's engine."""
    rows = []
    for arm in plan.arms:
        if arm.name in memory:
            own = {key: memory[arm.name].get(key) for key in KEYS}
            rows.append({"arm": arm.name, "adapters": len(arm.adapters), **own})
    table = pd.DataFrame(rows, columns=["arm", "adapters", *KEYS]).astype(
        dict.fromkeys(KEYS, float)
    )
    merged = table[table["arm"].isin(plan.merged)]
    if len(merged):
        mean = {"arm": "merged", "adapters": 1, **merged[list(KEYS)].mean()}
        table = pd.concat([pd.DataFrame([mean]), table], ignore_index=True)
    return table


def memory_column(table: pd.DataFrame) -> str:
    """The column of :func:`memory_table` that counts: a GPU's peak where there is one."""
    return "gpu_peak_gb" if table["gpu_peak_gb"].notna().any() else "memory_gb"


class BreakEven(NamedTuple):
    """Memory by number of adapters n, in GB; a GPU's peak where there is one.

    One engine with adapters side by side takes ``fixed + n * adapter``, the least squares line
    through its arms; merged engines take ``engines + n * engine``.
    """

    fixed: float
    adapter: float
    """At least 0, as memory is; NaN where only one arm has adapters: a line needs two."""

    engine: float
    engines: float
    """0 where the memory of merged engines was not added up: n of them take n times one's."""

    measured: int
    """Merged engines whose memory was added up: a process each, files that they map counted once; 0
    where there were none."""

    column: str

    @property
    def adapters(self) -> int | None:
        """The least n with which one engine takes less; None where there is none."""
        counts = range(1, 1001)
        return next((n for n in counts if self.one_engine(n) < self.merged_engines(n)), None)

    def one_engine(self, adapters: int) -> float:
        """Memory of one engine with so many adapters."""
        return self.fixed + (0.0 if math.isnan(self.adapter) else self.adapter * adapters)

    def merged_engines(self, adapters: int) -> float:
        """Memory of so many engines with a merged model each."""
        return self.engines + self.engine * adapters


def break_even(table: pd.DataFrame, plan: Plan) -> BreakEven | None:
    """What :func:`memory_table` says of it; None where a side was not measured."""
    column = memory_column(table)
    own = table.set_index("arm")[column].dropna()
    sizes = {arm.name: len(arm.adapters) for arm in plan.of_kind("single", "multi")}
    side = {name: count for name, count in sizes.items() if name in own}
    if "merged" not in own or not side:
        return None
    one, fixed, adapter = float(own["merged"]), float(own[list(side)].mean()), math.nan
    if len(set(side.values())) > 1:
        counts, values = list(side.values()), own[list(side)]
        adapter = max(0.0, float(np.polyfit(counts, values, 1)[0]))
        fixed = float(values.mean()) - adapter * float(np.mean(counts))
    engines, engine, measured = 0.0, one, 0
    for arm in plan.of_kind("engines"):
        count = len(arm.adapters)
        if arm.name in own and count > 1:
            measured, engine = count, (float(own[arm.name]) - one) / (count - 1)
            engines = one - engine
    return BreakEven(fixed, adapter, engine, engines, measured, column)
