"""Each adapter beside others against its own merged model; and its first request, cold and warm."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.plans import Plan
from loradrift.statistics import t_interval


def adapter_table(samples: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """How many times as long an adapter's requests take as its merged model's, paired by round.

    Columns ``load``, ``arm``, ``adapter``, ``ratio``, ``low``, ``high`` (95 % t interval of log
    ratios over rounds), ``rounds``, ``requests``; offline only.
    """
    own = samples[(samples["phase"] == "offline") & samples["asked"].notna()]
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


def cold_table(cold: pd.DataFrame) -> pd.DataFrame:
    """Per arm and adapter: seconds to load it, to the first token cold and warm, and between.

    The difference is paired by round, with a 95 % t interval over rounds.
    """
    rows: list[dict[str, Any]] = []
    for (arm, adapter), own in cold.groupby(["arm", "adapter"], sort=False):
        by_state = own.pivot_table(index="round", columns="state", values="ttft_s")
        if {"cold", "warm"} - set(by_state):
            continue
        pairs = by_state.dropna()
        found = t_interval(pairs["cold"] - pairs["warm"])
        load = own.loc[own["state"] == "cold", "load_s"].dropna()
        rows.append(
            {"arm": arm, "adapter": adapter, "load_s": load.mean(),
             "cold_ttft_s": pairs["cold"].mean(), "warm_ttft_s": pairs["warm"].mean(),
             "difference_s": found.estimate, "low": found.low, "high": found.high,
             "rounds": len(pairs)}
        )  # fmt: skip
    columns = ["arm", "adapter", "load_s", "cold_ttft_s", "warm_ttft_s", "difference_s", "low",
               "high", "rounds"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def start_table(events: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per engine: seconds to start it, and the mean to load one of its adapters."""
    rows = []
    for name, each in events.items():
        loads = [float(value) for value in (each.get("load_s") or {}).values()]
        load_s = sum(loads) / len(loads) if loads else None
        start_s = each.get("start_s")
        rows.append({"arm": name, "start_s": start_s, "adapters": len(loads), "load_s": load_s})
    return pd.DataFrame(rows, columns=["arm", "start_s", "adapters", "load_s"])
