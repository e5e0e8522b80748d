"""Figures of memory, and of first requests."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.serving.adapters import CACHED, EVICTED, FILES, PLACES
from loradrift.analysis.serving.figures import setting
from loradrift.analysis.serving.looks import APART, MARGIN_COLOR, SIDE_BY_SIDE, arm_style
from loradrift.analysis.serving.memory import BreakEven, memory_column
from loradrift.analysis.serving.tables import Measured
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, from_zero, save


def draw_memory(measured: Measured, folder: Path) -> Figure | None:
    """Throughput against memory, and memory against the number of adapters."""
    plan, even = measured.cell.plan, measured.break_even
    column = memory_column(measured.memory)
    memory = measured.memory.set_index("arm")[column].dropna()
    bands = measured.bands
    own = bands[
        (bands["phase"] == measured.cell.phase) & (bands["load"] == measured.load)
    ].set_index("arm")
    names = [name for name in own.index if name in memory and name not in plan.merged]
    if not names:
        return None
    with canvas(1 if even is None else 2, height=3.1, columns=2) as (figure, axes):
        for name in names:
            arm, row = plan.arm(name), own.loc[name]
            ends = [[row["tokens_per_s"] - row["tokens_per_s_low"]],
                    [row["tokens_per_s_high"] - row["tokens_per_s"]]]  # fmt: skip
            axes[0].errorbar(
                memory[name], row["tokens_per_s"], yerr=ends if np.isfinite(ends).all() else None,
                capsize=2, label=plan.label(name), **arm_style(arm, plan) | {"ls": "none", "ms": 7},
            )  # fmt: skip
        axes[0].set(xlabel=f"{MEMORY[column]} (GB)", ylabel=f"tokens/s at {measured.at}")
        axes[0].margins(x=0.15)
        from_zero(axes[0])
        few_ticks(axes[0].xaxis)
        if even is not None:
            _break_even(axes[1], even, measured)
        finish_panels(figure, axes, columns=4)
        save(figure, folder, "memory")
    return Figure("memory", f"{_memory_caption(measured)} {setting(measured)}")


MEMORY = {"memory_gb": "memory of the process", "gpu_peak_gb": "peak of the GPU's memory"}


def _break_even(axes: Any, even: BreakEven, measured: Measured) -> None:
    """Memory against the number of adapters: one engine, and merged engines."""
    plan = measured.cell.plan
    memory = measured.memory.set_index("arm")[even.column].dropna()
    sizes = {arm.name: len(arm.adapters) for arm in plan.of_kind("single", "multi")}
    shown = {name: count for name, count in sizes.items() if name in memory}
    most = max(4, *shown.values())
    counts = range(1, most + 1)
    one = [even.one_engine(n) for n in counts]
    axes.plot(counts, one, color=SIDE_BY_SIDE, label="one engine, adapters side by side")
    axes.plot(list(shown.values()), memory[list(shown)], "o", color=SIDE_BY_SIDE)
    apart = [even.merged_engines(n) for n in counts]
    solid = "-" if even.measured else "--"
    axes.plot(counts, apart, color=APART, ls=solid, label="merged engines, one per adapter")
    axes.plot([1], [even.merged_engines(1)], "o", color=APART)
    if even.measured:
        axes.plot([even.measured], [even.merged_engines(even.measured)], "o", color=APART)
    least = even.adapters
    if least is not None and least <= most:
        axes.axvline(least, color=MARGIN_COLOR, lw=0.9, ls=":")
        axes.annotate(
            f"from {least} adapters on\none engine takes less", (least, 0.08),
            xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
            va="bottom", fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="adapters", ylabel=f"{MEMORY[even.column]} (GB)")
    few_ticks(axes.xaxis, 6, whole=True)
    from_zero(axes)


def _memory_caption(measured: Measured) -> str:
    even = measured.break_even
    said = "Throughput against the memory of one engine."
    if even is None:
        return said
    apart = (
        f"merged engines, a process each ({even.measured} measured; files that all of them map "
        "count once)" if even.measured
        else "merged engines, n times one of them: computed, shared libraries counted in each"
    )  # fmt: skip
    return (
        f"{said} Right: memory against the number of adapters, of one engine with all of them "
        f"(points are measured, the line is fitted) and of {apart}."
    )


def draw_cold(measured: Measured, folder: Path) -> Figure | None:
    """The wait for the first token of a cold and of a warm adapter, each round a dot."""
    cold, plan = measured.cell.cold, measured.cell.plan
    places = [name for name in PLACES if (measured.cold["place"] == name).any()]
    if not places:
        return None
    with canvas(len(places), height=2.9, columns=2) as (figure, panels):
        for axes, place in zip(panels, places, strict=True):
            arms = measured.cold.loc[measured.cold["place"] == place, "arm"]
            own = cold[cold["arm"].isin(arms)]
            names = list(dict.fromkeys(own["adapter"]))
            for at, name in enumerate(names):
                _cold_dots(axes, own[own["adapter"] == name], at)
            labels = [plan.adapter_label(name).replace(" (", "\n(") for name in names]
            axes.set_xticks(range(len(names)), labels, fontsize=7 if len(places) > 1 else 8)
            axes.set_xlim(-0.6, len(names) - 0.4)
            axes.set(title=f"cold: {PLACES[place]}", ylabel="wait for the first token (ms)")
            axes.grid(visible=False, axis="x")
            from_zero(axes)
        finish_panels(figure, panels)
        save(figure, folder, "cold_warm")
    return Figure(
        "cold_warm",
        "How long an adapter's first request waits for its first token, loading included, and a "
        "later one; dots are rounds, lines their means. "
        f"{f'{CACHED} ' if {FILES, EVICTED} & {*places} else ''}{setting(measured)}",
    )


STATES = {"cold": (-0.15, "#0072B2", "o"), "warm": (0.15, "#E69F00", "s")}


def _cold_dots(axes: Any, rows: pd.DataFrame, at: int) -> None:
    """One adapter's rounds and means, cold and warm side by side."""
    for state, (shift, color, marker) in STATES.items():
        own = rows[rows["state"] == state]
        waits = 1000 * (own["ttft_s"] + own["load_s"].fillna(0.0)).to_numpy()
        spread = np.linspace(-0.07, 0.07, len(waits)) if len(waits) > 1 else np.zeros(len(waits))
        dots = {"color": color, "ms": 4, "mec": "white", "mew": 0.3, "ls": "none"}
        axes.plot(at + shift + spread, waits, marker, label=state, **dots)
        if len(waits):
            axes.plot(at + shift + np.array([-0.12, 0.12]), [waits.mean()] * 2, color=color)
