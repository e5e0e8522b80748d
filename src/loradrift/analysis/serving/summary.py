"""What the terminal shows of a cell."""

import pandas as pd

from loradrift.analysis.serving.answers import answers_text, apart_text
from loradrift.analysis.serving.latencies import ALL
from loradrift.analysis.serving.plans import MERGED_LABEL, arm_label
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.verdict import h3_sentence
from loradrift.report.blocks import cell_text
from loradrift.report.terminal import print_table


def print_cell(measured: Measured) -> None:
    """Print a cell's table, what is said of its answers, and the verdict."""
    cell = measured.cell
    marks = f" [{cell.marks}]" if cell.marks else ""
    table = arm_table(measured)
    print_table(table, f"{cell.name}: batch {measured.load:g}, {cell.plan.setting()}{marks}")
    for line in measured.problems:
        print(f"note: {line}")
    print(f"answers: {answers_text(measured.answers)}")
    if apart := apart_text(cell.plan):
        print(f"note: {apart}")
    print(f"verdict: {h3_sentence(cell, measured.verdict)}")


def arm_table(measured: Measured, phase: str = "offline") -> pd.DataFrame:
    """One row per arm at the load that reports look at; merged models together."""
    plan, load = measured.cell.plan, measured.load
    labels = {arm.name: arm_label(arm, plan) for arm in plan.arms} | {"merged": MERGED_LABEL}
    rows = measured.latencies
    rows = rows[(rows["phase"] == phase) & (rows["load"] == load) & (rows["adapter"] == ALL)]
    shown = []
    for row in rows[~rows["arm"].isin(plan.merged)].to_dict("records"):
        arm = row["arm"]
        shown.append(
            {
                "arm": labels[arm],
                "latency (s)": row["latency_mean_s"],
                "p95 (s)": row["latency_p95_s"],
                "TTFT (ms)": 1000 * row["ttft_mean_s"],
                "TPOT (ms)": 1000 * row["tpot_mean_s"],
                "tokens/s": row["tokens_per_s"],
                "requests/s": row["requests_per_s"],
                "over merged": overhead_text(measured, arm, "merged"),
                "over base": overhead_text(measured, arm, "baseline"),
                "memory (GB)": cell_text(memory_gb(measured, arm)),
            }
        )
    return pd.DataFrame(shown)


def memory_gb(measured: Measured, arm: str) -> float | None:
    """An arm's memory; of the merged arms, the mean of one engine's."""
    names = measured.cell.plan.merged if arm == "merged" else [arm]
    known = [measured.cell.memory.get(name, {}).get("memory_gb") for name in names]
    values = [value for value in known if value is not None]
    return sum(values) / len(values) if values else None


def overhead_text(measured: Measured, arm: str, against: str) -> str:
    """``+85 % (80 to 90)`` at the load that reports look at; a dash where nothing is compared."""
    table = measured.overheads
    own = table[
        (table["phase"] == "offline") & (table["load"] == measured.load)
        & (table["arm"] == arm) & (table["against"] == against)
    ]  # fmt: skip
    if own.empty:
        return "-"
    return ratio_text(*own[["ratio", "low", "high"]].iloc[0])


def ratio_text(ratio: float, low: float, high: float) -> str:
    """A ratio as an overhead: no decimals where ten percent are passed.

    Example:
        >>> ratio_text(1.853, 1.838, 1.869), ratio_text(1.021, 0.99, float("nan"))
        ('+85 % (+84 to +87)', '+2.1 %')
    """
    percents = [100 * (float(each) - 1) for each in (ratio, low, high)]
    digits = 0 if abs(percents[0]) >= 10 else 1
    said = [f"{each:+.{digits}f}" for each in percents]
    return f"{said[0]} %" if pd.isna(low + high) else f"{said[0]} % ({said[1]} to {said[2]})"
