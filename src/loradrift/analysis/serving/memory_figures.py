"""Figures of memory, and of first requests."""

from pathlib import Path
from typing import Any

import numpy as np

from loradrift.analysis.serving.figures import setting
from loradrift.analysis.serving.looks import APART, MARGIN_COLOR, SIDE_BY_SIDE, arm_style
from loradrift.analysis.serving.memory import BreakEven
from loradrift.analysis.serving.tables import Measured
from loradrift.report.blocks import Figure
from loradrift.report.style import canvas, few_ticks, finish_panels, from_zero, save


def draw_memory(measured: Measured, folder: Path) -> Figure | None:
    """Throughput against memory, and memory against the number of adapters."""
    plan, even = measured.cell.plan, measured.break_even
    column = "memory_gb" if even is None else even.column
    memory = measured.memory.set_index("arm")[column].dropna()
    bands = measured.bands
    own = bands[(bands["phase"] == "offline") & (bands["load"] == measured.load)].set_index("arm")
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
        axes[0].set(xlabel=f"{MEMORY[column]} (GB)", ylabel=f"tokens/s at batch {measured.load:g}")
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
            f"from {least} adapters on\none engine takes less", (least, 0.97),
            xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
            va="top", fontsize=8,
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
        f"merged engines measured together ({even.measured})" if even.measured
        else "n times one merged engine, which is computed, not measured"
    )  # fmt: skip
    return (
        f"{said} Right: memory against the number of adapters, of one engine with all of them "
        f"(points are measured, the line is fitted) and of {apart}."
    )


def draw_cold(measured: Measured, folder: Path) -> Figure | None:
    """The first token of a cold and of a warm adapter, each round a dot."""
    cold, plan = measured.cell.cold, measured.cell.plan
    if cold.empty:
        return None
    groups: list[Any] = list(cold.groupby(["arm", "adapter"], sort=False))
    names = [plan.adapter_label(adapter).replace(" (", "\n(") for (_, adapter), _ in groups]
    if cold["arm"].nunique() > 1:
        names = [
            f"{name}\n{plan.label(arm)}" for name, ((arm, _), _) in zip(names, groups, strict=True)
        ]
    states = {"cold": (-0.13, "#0072B2", "o"), "warm": (0.13, "#E69F00", "s")}
    with canvas(1, height=3.0) as (figure, [axes]):
        for place, (_, own) in enumerate(groups):
            for state, (shift, color, marker) in states.items():
                values = 1000 * own.loc[own["state"] == state, "ttft_s"].to_numpy()
                spread = np.linspace(-0.06, 0.06, len(values)) if len(values) > 1 else [0.0]
                axes.plot(
                    place + shift + np.asarray(spread), values, marker, color=color, ms=5,
                    mec="white", mew=0.4, ls="none", label=STATES[state],
                )  # fmt: skip
                if len(values):
                    mean = float(values.mean())
                    axes.plot(place + shift + np.array([-0.1, 0.1]), [mean, mean], color=color)
        axes.set_xticks(range(len(groups)), names)
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylabel("time to first token (ms)")
        axes.grid(visible=False, axis="x")
        from_zero(axes)
        finish_panels(figure, [axes])
        save(figure, folder, "cold_warm")
    return Figure(
        "cold_warm",
        "Time to the first token of an adapter's first request, which loads it, and of a later "
        f"one; dots are rounds, lines their means. {setting(measured)}",
    )


STATES = {"cold": "cold: the adapter is loaded first", "warm": "warm: it is loaded"}
