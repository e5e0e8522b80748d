"""``deployment_benchmark.json``: what each arm costs, in numbers for other programs."""

import math
from collections.abc import Mapping
from typing import Any

from loradrift.analysis.serving.advice import advise, untold
from loradrift.analysis.serving.latencies import ALL, least_count
from loradrift.analysis.serving.memory import KEYS
from loradrift.analysis.serving.tables import Measured, Serving
from loradrift.analysis.serving.verdict import ARM, BATCH, CLAIM, MARGIN, stands_for

UNITS = {
    "mean_latency": "s", "p50_latency": "s", "p95_latency": "s", "p99_latency": "s",
    "mean_ttft": "s", "p95_ttft": "s", "mean_tpot": "s", "mean_itl": "s",
    "throughput": "tokens/s", "requests_per_s": "requests/s", "goodput": "requests/s",
    "memory_gb": "GB", "kv_cache_gb": "GB", "gpu_peak_gb": "GB", "overhead_percent": "%",
    "ci_95_percent": "%", "bootstrap_95_percent": "%",
}  # fmt: skip

FIGURES = {
    "mean_latency": "latency_mean_s", "p50_latency": "latency_p50_s",
    "p95_latency": "latency_p95_s", "p99_latency": "latency_p99_s",
    "throughput": "tokens_per_s", "requests_per_s": "requests_per_s", "goodput": "goodput_per_s",
    "mean_ttft": "ttft_mean_s", "p95_ttft": "ttft_p95_s", "mean_tpot": "tpot_mean_s",
    "mean_itl": "itl_mean_s", "requests": "requests",
}  # fmt: skip
"""Name in the file -> column."""

PERCENTS = {"p95_latency": 95, "p99_latency": 99, "p95_ttft": 95}
"""The percentiles that few requests cannot carry."""

LOADS = {"offline": "batch", "closed_loop": "concurrency", "open_loop": "rate"}
"""What a phase's load is called: ``batch_8``, ``concurrency_4``, ``rate_2.5``."""


def deployment_json(serving: Serving) -> dict[str, Any]:
    """All results; those of the first cell are at the top, the others' below ``cells``.

    What is not defined (an interval of one round) is null.
    """
    first, *others = serving.cells
    named = {each.cell.name: cell_json(each) for each in others}
    found: dict[str, Any] = _plain(cell_json(first) | {"units": UNITS, "cells": named})
    return found


def cell_json(measured: Measured) -> dict[str, Any]:
    """The results of one cell: an object for each arm, and what belongs to all of them."""
    cell = measured.cell
    arms = {name: _arm(measured, name) for name in dict.fromkeys(measured.latencies["arm"])}
    plan = cell.plan
    even = measured.break_even
    return arms | {
        "overhead_analysis": _overheads(measured),
        "break_even": None if even is None else even._asdict() | {"adapters": even.adapters},
        "advice": [each._asdict() for each in advise(measured)],
        "cannot_tell": untold(measured),
        "rounds_checked": list(measured.stability.lines),
        "benchmark": {
            "cell": cell.name,
            "engine": plan.engine,
            "kernels": plan.kernels,
            "model": dict(plan.model),
            "data": plan.data(),
            "dtype": plan.dtype,
            "mix": plan.mix,
            "max_tokens": plan.max_tokens,
            "latency_target_s": plan.latency_target_s,
            "rounds": cell.rounds,
            "rounds_planned": plan.rounds,
            "status": str(cell.record.status),
            "percentiles": "numpy, linear interpolation; of an arm and load with fewer than "
            "requests_needed, too_few_requests_for names those that are little else than the "
            "longest request",
            "requests_needed": {f"p{each}": least_count(each) for each in (95, 99)},
        },
        "answers": measured.answers._asdict()
        | {
            "wrong_adapter_rate": measured.answers.wrong_adapter_rate,
            "cannot_tell_apart": [list(each) for each in plan.cannot_tell_apart],
            "passes_for_another": _shares(measured),
        },
    }


def _arm(measured: Measured, arm: str) -> dict[str, Any]:
    """An arm's figures by load, those of each adapter below, and its memory."""
    own = measured.latencies[measured.latencies["arm"] == arm]
    found: dict[str, Any] = {}
    for (phase, load), rows in own.groupby(["phase", "load"], sort=False):
        each = {row["adapter"]: _figures(row) for row in rows.to_dict("records")}
        figures = each.pop(ALL) | {"adapters": each}
        found[f"{LOADS[str(phase)]}_{load:g}"] = figures
    return found | _memory(measured, arm)


def _figures(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The figures of some requests, and which of them these are too few for."""
    found = {name: row[column] for name, column in FIGURES.items()}
    few = [name for name, each in PERCENTS.items() if row["requests"] < least_count(each)]
    return found | {"too_few_requests_for": few}


def _shares(measured: Measured) -> list[dict[str, Any]] | None:
    """On how many prompts a model's answer passes for another's; null where it is not known."""
    apart = measured.cell.apart
    if apart is None:
        return None
    names = ("asked", "answer_of", "share_of_prompts")
    return [dict(zip(names, each, strict=True)) for each in apart.shares]


def _memory(measured: Measured, arm: str) -> dict[str, float | None]:
    """An arm's memory; null where it was not measured."""
    own = measured.memory[measured.memory["arm"] == arm]
    return {key: own[key].iloc[0] if len(own) else None for key in KEYS}


def _overheads(measured: Measured) -> dict[str, Any]:
    """How much longer each arm takes, by what it is compared with and by load; and H3."""
    found: dict[str, Any] = {}
    for row in measured.overheads.to_dict("records"):
        key = f"{LOADS[row['phase']]}_{row['load']:g}"
        place = found.setdefault(row["arm"], {}).setdefault(key, {})
        place[f"over_{row['against']}"] = {
            "overhead_percent": percent(row["ratio"]),
            "ci_95_percent": [percent(row["low"]), percent(row["high"])],
            "bootstrap_95_percent": [
                percent(row["bootstrap_low"]), percent(row["bootstrap_high"])
            ],
            "rounds": row["rounds"],
        }  # fmt: skip
    verdict = measured.verdict
    return found | {
        "H3": {
            "claim": CLAIM,
            "arm": ARM,
            "batch": BATCH,
            "margin_percent": percent(MARGIN),
            "verdict": str(verdict.verdict),
            "stands_for": stands_for(measured.cell),
            "why": verdict.why or None,
            "overhead_percent": percent(verdict.ratio),
            "ci_95_percent": [percent(verdict.low), percent(verdict.high)],
            "bootstrap_95_percent": [
                percent(verdict.bootstrap_low), percent(verdict.bootstrap_high)
            ],
            "rounds": verdict.rounds,
        },
        "method": "paired by round: log of the call's wall time minus the references' mean log; "
        "t interval over rounds; bootstrap over rounds beside it",
    }  # fmt: skip


def percent(ratio: float) -> float:
    """An overhead of a ratio: 1.2 is 20 %, to six decimals.

    Example:
        >>> percent(1.2)
        20.0
    """
    return round(100 * (float(ratio) - 1), 6)


def _plain(value: Any) -> Any:
    """Python's own numbers, and null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
