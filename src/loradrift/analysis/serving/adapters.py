"""Each adapter beside others against its own merged model; and its first request, cold and warm."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.latencies import ALL
from loradrift.analysis.serving.plans import Plan
from loradrift.statistics import t_interval


def adapter_table(samples: pd.DataFrame, plan: Plan, phase: str) -> pd.DataFrame:
    """How many times as long an adapter's requests take as its merged model's, paired by round.

    Columns ``load``, ``arm``, ``adapter``, ``ratio``, ``low``, ``high`` (95 % t interval of log
    ratios over rounds), ``rounds``, ``requests``; of one phase.
    """
    own = samples[(samples["phase"] == phase) & samples["asked"].notna()]
    keys = ["arm", "asked", "load", "round"]
    latency = np.log(own.groupby(keys)["latency_s"].mean())
    counts = own.groupby(keys[:-1]).size()
    merged = {arm.adapters[0]: arm.name for arm in plan.of_kind("merged")}
    rows = []
    for (arm, adapter, load), each in latency.groupby(level=[0, 1, 2], sort=False):
        if arm in plan.merged or adapter not in merged:
            continue
        reference = latency.get((merged[adapter], adapter, load))
        if reference is None:
            continue
        ratios = (each.droplevel([0, 1, 2]) - reference).dropna()
        if len(ratios):
            ends = np.exp(t_interval(ratios)[:3])
            rows.append(
                {"load": load, "arm": arm, "adapter": adapter}
                | dict(zip(("ratio", "low", "high"), map(float, ends), strict=True))
                | {"rounds": len(ratios), "requests": int(counts[arm, adapter, load])}
            )
    columns = ["load", "arm", "adapter", "ratio", "low", "high", "rounds", "requests"]
    return pd.DataFrame(rows, columns=columns)


FILES, SLOT, EVICTED = "files", "slot", "evicted"
PLACES = {
    FILES: "in its files",
    SLOT: "in memory, without a slot",
    EVICTED: "pushed out of memory by others",
}
"""Where a cold adapter is: in its files before it is loaded, in the host's memory without a slot,
or in its files again, from which it is loaded while its request waits."""

CACHED = (
    "After the first round the system keeps an adapter's files in memory (its page cache): later "
    "loads read no disk."
)
"""What a load from files is."""


def cold_table(cold: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """How much longer a cold adapter's first token takes than a warm one's, in seconds.

    A row for each place where it was, and each adapter; of :data:`ALL` adapters, first. The wait is
    the time to load it and that to the first token; its difference to that of a warm one is paired
    by round, with a 95 % t interval over rounds.
    """
    kinds = {name: plan.arm(name).kind for name in cold["arm"].unique()}
    cold = cold.assign(
        place=[
            {"few_slots": SLOT, "few_in_memory": EVICTED}.get(kinds[name], FILES)
            for name in cold["arm"]
        ],
        wait_s=cold["ttft_s"] + cold["load_s"].fillna(0.0),
    )
    rows: list[dict[str, Any]] = []
    for (arm, place), own in cold.groupby(["arm", "place"], sort=False):
        parts: list[Any] = [(ALL, own), *own.groupby("adapter", sort=False)]
        for adapter, part in parts:
            waits = part.pivot_table(index="round", columns="state", values="wait_s")
            if {"cold", "warm"} - set(waits):
                continue
            pairs = waits.dropna()
            found = t_interval(pairs["cold"] - pairs["warm"])
            load = part.loc[part["state"] == "cold", "load_s"].mean()
            row = {"arm": arm, "place": place, "adapter": adapter, "load_s": load}
            row |= {"cold_s": pairs["cold"].mean(), "warm_s": pairs["warm"].mean()}
            ends = dict(zip(("difference_s", "low", "high"), found[:3], strict=True))
            rows.append(row | ends | {"rounds": len(pairs)})
    columns = ["arm", "place", "adapter", "load_s", "cold_s", "warm_s", "difference_s", "low",
               "high", "rounds"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def start_table(events: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per engine: seconds to start it, the mean to load an adapter, a server's memory."""
    rows = []
    for name, each in events.items():
        loads = [float(value) for value in (each.get("load_s") or {}).values()]
        load_s = sum(loads) / len(loads) if loads else None
        start_s = each.get("start_s")
        row = {"arm": name, "start_s": start_s, "adapters": len(loads), "load_s": load_s}
        rows.append(row | {"memory_gb": each.get("memory_gb")})
    table = pd.DataFrame(rows, columns=["arm", "start_s", "adapters", "load_s", "memory_gb"])
    return table.astype(dict.fromkeys(["start_s", "load_s", "memory_gb"], float))
