"""Latency and throughput of each arm and each adapter, from the samples of single requests.

A percentile is numpy's, with linear interpolation between order statistics (type 7 of Hyndman &
Fan 1996, doi:10.1080/00031305.1996.10473566), over all requests of all rounds.

- TTFT: seconds from a request's submission to its first token.
- TPOT: its other tokens' mean time, ``(latency - TTFT) / (tokens - 1)``; none for one token.
- ITL: the single gaps between its tokens, pooled over requests.
- latency: seconds from its submission to its last token (end to end).
- throughput: tokens, or requests, over the wall time of the calls; goodput counts the requests
  whose latency is at most the target.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.plans import BASE, PHASES, Plan
from loradrift.statistics import t_interval
from loradrift.statistics.values import Array

PERCENTILES = (50, 95, 99)
TIMES = ("ttft", "tpot", "itl", "latency")
CALL = ["phase", "load", "arm", "round"]
"""What names a call: requests that were handed over together."""

ALL = "all"
"""What stands for an adapter where all requests are counted together."""


def call_table(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per call: its wall time, what it answered, and offline its place in its round."""
    calls = samples.groupby(CALL, sort=False).agg(
        call_s=("call_s", "first"),
        requests=("tokens", "size"),
        tokens=("tokens", "sum"),
        mean_latency_s=("latency_s", "mean"),
        mean_ttft_s=("ttft_s", "mean"),
        place=("place", "min"),
    )
    order = calls.groupby(["phase", "round"], sort=False)["place"].rank().astype(int)
    # a server's loads have a file each, which does not say in what order they were
    calls["order"] = order.where(calls.index.get_level_values("phase") == "offline", 0)
    return calls.drop(columns="place").reset_index()


def with_merged(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The same rows, and those of all merged arms once more under the one name ``merged``.

    ``own_arm`` is the arm that a row is of.
    """
    table = table.assign(own_arm=table["arm"])
    merged = table[table["arm"].isin(plan.merged)].assign(arm="merged")
    return pd.concat([table, merged], ignore_index=True)


def in_order(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows by phase and load, arms in the plan's order; ``merged`` comes before its arms."""
    names = [arm.name for arm in plan.arms]
    if plan.merged:
        names.insert(names.index(plan.merged[0]), "merged")
    places = {"phase": {name: place for place, name in enumerate(PHASES)}} | {
        column: {name: place for place, name in enumerate(names)} for column in ("arm", "against")
    }
    columns = [name for name in ("phase", "load", "arm", "against") if name in table]
    return table.sort_values(
        columns, kind="stable", key=lambda own: own.map(places.get(str(own.name), lambda x: x))
    ).reset_index(drop=True)


def latency_table(samples: pd.DataFrame, calls: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """One row per phase, load, arm and adapter; the arm ``merged`` is all merged arms together.

    An adapter's throughput is over the calls of the arms in which it was asked: of ``merged``, over
    those of its own merged model.
    """
    samples, calls = with_merged(samples, plan), with_merged(calls, plan)
    seconds = dict(list(calls.groupby(["phase", "load", "arm"])))
    rows = []
    for place, own in samples.groupby(["phase", "load", "arm"], sort=False):
        for adapter, part in _by_adapter(own):
            shared = seconds[place]["own_arm"].isin(part["own_arm"])
            call_s = seconds[place].loc[shared, "call_s"]
            keys = dict(zip(("phase", "load", "arm"), place, strict=True))
            figures = summary(part, call_s.sum(), plan.latency_target_s)
            rows.append(keys | {"adapter": adapter, "calls": len(call_s)} | figures)
    return pd.DataFrame(rows)


def _by_adapter(samples: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield ALL, samples
    for adapter, own in samples.groupby(samples["asked"].fillna(BASE), sort=True):
        yield str(adapter), own


def summary(samples: pd.DataFrame, call_s: float, target_s: float) -> dict[str, Any]:
    """The figures of some requests, whose calls took ``call_s`` seconds together."""
    latency, ttft = samples["latency_s"].to_numpy(), samples["ttft_s"].to_numpy()
    tokens = samples["tokens"].to_numpy()
    several = tokens > 1
    tpot = (latency - ttft)[several] / (tokens[several] - 1)
    gaps = [np.diff(times) for times in samples["token_times_s"]]
    values = {"ttft": ttft, "tpot": tpot, "itl": np.concatenate(gaps), "latency": latency}
    found: dict[str, Any] = {"requests": len(samples), "tokens": int(tokens.sum())}
    for name, each in values.items():
        found |= {f"{name}_{what}_s": value for what, value in described(each).items()}
    return found | {
        "tokens_per_s": tokens.sum() / call_s,
        "requests_per_s": len(samples) / call_s,
        "goodput_per_s": int((latency <= target_s).sum()) / call_s,
    }


def described(values: Array) -> dict[str, float]:
    """Mean and percentiles; NaN of nothing.

    Example:
        >>> described(np.array([1.0, 2.0, 3.0]))["p95"]
        2.9
    """
    if not len(values):
        return dict.fromkeys(["mean", *(f"p{each}" for each in PERCENTILES)], float("nan"))
    cuts = np.percentile(values, PERCENTILES, method="linear")
    shares = {f"p{each}": float(cut) for each, cut in zip(PERCENTILES, cuts, strict=True)}
    return {"mean": float(values.mean())} | shares


def least_count(percent: int) -> int:
    """How many values a percentile takes: of fewer it is little else than their largest.

    Example:
        >>> least_count(95), least_count(99)
        (20, 100)
    """
    return -(-100 // (100 - percent))


def few_as_nan(value: float, percent: int, count: int) -> float:
    """A percentile; NaN of fewer values than :func:`least_count`.

    Example:
        >>> few_as_nan(0.5, 95, 20), few_as_nan(0.5, 99, 20)
        (0.5, nan)
    """
    return value if count >= least_count(percent) else float("nan")


def band_table(calls: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Latency and tokens per second with 95 % t intervals over rounds, on the log scale.

    A merged round's value is the geometric mean of its arms'.
    """
    calls = calls.assign(tokens_per_s=calls["tokens"] / calls["call_s"])
    rows = []
    for place, own in with_merged(calls, plan).groupby(["phase", "load", "arm"], sort=False):
        row = dict(zip(("phase", "load", "arm"), place, strict=True))
        for name in ("mean_latency_s", "mean_ttft_s", "tokens_per_s"):
            of_rounds = np.log(own[name]).groupby(own["round"]).mean()
            interval = t_interval(of_rounds)
            ends = np.exp([interval.estimate, interval.low, interval.high])
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), map(float, ends), strict=True))
        rows.append(row | {"rounds": own["round"].nunique()})
    return pd.DataFrame(rows)
