"""What the terminal shows of a cell."""

import pandas as pd

from loradrift.analysis.serving.advice import advise, untold
from loradrift.analysis.serving.answers import answers_text, apart_text
from loradrift.analysis.serving.latencies import ALL, few_as_nan
from loradrift.analysis.serving.memory import memory_column
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.text import contrast_row, overhead_text
from loradrift.analysis.serving.verdict import h3_sentence
from loradrift.report.terminal import print_table


def print_cell(measured: Measured) -> None:
    """Print a cell's table, its notes, its advice and the verdict."""
    cell = measured.cell
    marks = f" [{cell.marks}]" if cell.marks else ""
    title = f"{cell.name}: {measured.at}, {cell.plan.setting()}{marks}"
    table = arm_table(measured)
    print_table(table.drop(columns=["requests/s", "over base"]), title)
    for line in (*measured.problems, *measured.stability.lines, *untold(measured)):
        print(f"note: {line}")
    if apart := apart_text(cell.plan):
        print(f"note: {apart}")
    for advice in advise(measured):
        print(f"advice: {advice.setting}: {advice.value} ({advice.because})")
    print(f"answers: {answers_text(measured.answers)}")
    print(f"verdict: {h3_sentence(cell, measured.verdict)}")


def arm_table(measured: Measured) -> pd.DataFrame:
    """One row per arm at the load that reports look at; merged models together."""
    plan, rows = measured.cell.plan, measured.latencies
    rows = rows[rows["phase"] == measured.cell.phase]
    rows = rows[(rows["load"] == measured.load) & (rows["adapter"] == ALL)]
    column = memory_column(measured.memory)
    memory = dict(zip(measured.memory["arm"], measured.memory[column], strict=True))
    title = "GPU memory (GB)" if column == "gpu_peak_gb" else "memory (GB)"
    shown = []
    for row in rows[~rows["arm"].isin(plan.merged)].to_dict("records"):
        arm = row["arm"]
        shown.append(
            {
                "arm": plan.label(arm),
                "latency (s)": row["latency_mean_s"],
                "p95 (s)": few_as_nan(row["latency_p95_s"], 95, row["requests"]),
                "TTFT (ms)": 1000 * row["ttft_mean_s"],
                "TPOT (ms)": 1000 * row["tpot_mean_s"],
                "tokens/s": row["tokens_per_s"],
                "requests/s": row["requests_per_s"],
                "over merged": overhead_text(contrast_row(measured, arm, "merged")),
                "over base": overhead_text(contrast_row(measured, arm, "baseline")),
                title: memory.get(arm, float("nan")),
            }
        )
    return pd.DataFrame(shown)
