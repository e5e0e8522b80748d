"""The tables of the page: arms, percentiles, adapters, first requests."""

import pandas as pd

from loradrift.analysis.serving.adapters import CACHED, EVICTED, FILES, PLACES
from loradrift.analysis.serving.latencies import ALL, few_as_nan, least_count
from loradrift.analysis.serving.memory import IN_TURN, memory_column
from loradrift.analysis.serving.summary import arm_table
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.text import ratio_text
from loradrift.report.blocks import Block, Paragraph, Table, cell_text, interval_text

PHASES = {
    "offline": "batch", "closed_loop": "requests in flight", "open_loop": "requests/s sent",
}  # fmt: skip


FEW = (
    f"A dash stands for a p95 of fewer than {least_count(95)} values and a p99 of fewer than "
    f"{least_count(99)}."
)


def arms_table(measured: Measured) -> Table:
    """All arms at the load that reports look at."""
    on_gpu = memory_column(measured.memory) == "gpu_peak_gb"
    memory = (
        "Memory is the peak of the GPU's."
        if on_gpu
        else "Memory is that of a process of its own, shared pages counted once."
    )
    if measured.cell.plan.of_kind("engines"):
        memory += f" {IN_TURN}"
    return Table(
        arm_table(measured),
        f"All arms at {measured.at} (means; p95: 95th percentile of latency; TTFT: time "
        "to first token; TPOT: time per other token). Overheads are paired by round, with 95 % t "
        f"intervals. {memory} {FEW}",
    )


def percentile_tables(measured: Measured) -> list[Block]:
    """Every load, arm and adapter, with all percentiles; a table per phase."""
    plan, blocks = measured.cell.plan, list[Block]()
    for phase, own in measured.latencies.groupby("phase", sort=False):
        shown = own[own["adapter"] == ALL]
        merged = [name for name in plan.merged if name in set(shown["arm"])]
        if len(merged) == 1:  # all of them are that one, which its own row names
            shown = shown[shown["arm"] != "merged"]
        blocks.append(
            Table(
                _percentiles(measured, shown).drop(columns="adapter"),
                f"Latencies by {PHASES[str(phase)]}, over all requests of all rounds: mean / p50 / "
                "p95 / p99 (linear interpolation). Goodput counts requests that end within "
                f"{plan.latency_target_s:g} s. Tokens that arrive together have an ITL of 0. {FEW}",
            )
        )
    return blocks


def _percentiles(measured: Measured, rows: pd.DataFrame) -> pd.DataFrame:
    plan = measured.cell.plan
    shown = []
    for row in rows.to_dict("records"):
        cells = {"load": f"{row['load']:.3g}", "arm": plan.label(row["arm"])}
        cells["adapter"] = plan.adapter_label(row["adapter"])
        for name, title, scale in (
            ("latency", "latency (s)", 1), ("ttft", "TTFT (ms)", 1000),
            ("tpot", "TPOT (ms)", 1000), ("itl", "ITL (ms)", 1000),
        ):  # fmt: skip
            count = row["tokens"] - row["requests"] if name == "itl" else row["requests"]
            values = [row[f"{name}_mean_s"], row[f"{name}_p50_s"]]
            values += [few_as_nan(row[f"{name}_p{each}_s"], each, count) for each in (95, 99)]
            cells[title] = " / ".join(cell_text(scale * value) for value in values)
        cells |= {"tokens/s": row["tokens_per_s"], "requests/s": row["requests_per_s"],
                  "goodput": row["goodput_per_s"], "requests": row["requests"]}  # fmt: skip
        shown.append(cells)
    return pd.DataFrame(shown)


def adapter_blocks(measured: Measured) -> list[Block]:
    """Each adapter beside others: its latencies, and against its own merged model."""
    plan, table = measured.cell.plan, measured.adapters
    own = table[table["load"] == measured.load]
    blocks: list[Block] = []
    if len(own):
        frame = pd.DataFrame(
            {
                "arm": [plan.label(name) for name in own["arm"]],
                "adapter": [plan.adapter_label(name) for name in own["adapter"]],
                "latency against its merged model": [
                    ratio_text(*ends)
                    for ends in zip(own["ratio"], own["low"], own["high"], strict=True)
                ],
                "rounds": own["rounds"],
                "requests": own["requests"],
            }
        )
        blocks.append(
            Table(frame, f"Each adapter's mean latency at {measured.at} against that of "
                  "its own merged model, paired by round, with 95 % t intervals.")
        )  # fmt: skip
    several = [arm.name for arm in plan.of_kind("multi", "few_slots", "few_in_memory")]
    rows = measured.latencies
    rows = rows[(rows["phase"] == measured.cell.phase) & (rows["load"] == measured.load)
                & (rows["adapter"] != ALL) & rows["arm"].isin([*several, "merged"])]  # fmt: skip
    if len(rows):
        frame = _percentiles(measured, rows).drop(columns=["load", "goodput"])
        blocks.append(
            Table(
                frame,
                f"Latencies of each adapter at {measured.at}: mean / p50 / p95 / p99. Tokens per "
                "second are its own, over all calls of its arm; of merged models, over the calls "
                f"of its own one. {FEW}",
            )
        )
    return blocks


def setting_blocks(measured: Measured) -> list[Block]:
    """Loading, first requests, start-up."""
    plan, blocks = measured.cell.plan, list[Block]()
    cold = measured.cold
    if len(cold):
        frame = pd.DataFrame(
            {
                "cold adapter": [PLACES[name] for name in cold["place"]],
                "adapter": [
                    "all" if name == ALL else plan.adapter_label(name) for name in cold["adapter"]
                ],
                "load (ms)": 1000 * cold["load_s"],
                "first wait (ms)": 1000 * cold["cold_s"],
                "later wait (ms)": 1000 * cold["warm_s"],
                "difference (ms)": 1000 * cold["difference_s"],
                "95 % interval": [
                    interval_text(1000 * low, 1000 * high)
                    for low, high in zip(cold["low"], cold["high"], strict=True)
                ],
            }
        )
        caption = "Wait for the first token, loading included, of first and of later requests."
        if cold["place"].isin([FILES, EVICTED]).any():
            caption += f" {CACHED}"
        blocks.append(Table(frame, caption))
    return [*blocks, *_starts(measured)]


def _starts(measured: Measured) -> list[Block]:
    """Start-up and loading times."""
    plan, starts = measured.cell.plan, measured.starts
    if starts.empty:
        return []
    names = {arm.name: plan.label(arm.name) for arm in plan.arms}
    frame = pd.DataFrame(
        {
            "engine": [names.get(name, name.replace("_", " ")) for name in starts["arm"]],
            "start (s)": starts["start_s"],
            "adapters": starts["adapters"],
            "load of one (ms)": 1000 * starts["load_s"],
            "memory (GB)": starts["memory_gb"],
        }
    ).dropna(axis="columns", how="all")
    caption = (
        "Start of each engine, and loading one of its adapters. Of engines that share a process "
        "the first one loads the libraries."
    )
    return [Table(frame, caption)]


def classification_blocks(measured: Measured) -> list[Block]:
    """The runs' classifiers in one engine: labels against the runs', logits against PEFT's."""
    found = measured.cell.classification
    faults = {"not_finite": "not finite"}
    if found.get("dtype") == "bfloat16":  # in fp32 logits have to be equal, and nobody looks
        faults["swapped"] = "nearer to another's"
    rows = [
        {
            "task": each["label"],
            "classes": each["num_labels"],
            "rows": each["rows"],
            "the run's label": each["equal_labels"],
            "ties": each["ties"],
            "others": len(each["wrong"]),
            **{title: len(each[key]) for key, title in faults.items() if key in each},
            "largest difference of a logit": each["largest_difference"],
            "largest logit": each["largest_logit"],
        }
        for each in found.get("tasks", {}).values()
    ]
    if not rows:
        return []
    caption = (
        f"All runs' classifiers in one engine, their rows mixed in one batch ({found['dtype']}): "
        "labels against those of the runs, row by row, and logits against PEFT's in fp32."
    )
    if "swapped" in faults:
        caption += (
            " Nearer to another's: logits that are nearer to those of another adapter, or of none, "
            "than to the run's."
        )
    problem = [Paragraph(f"Not right: {found['problem']}.")] if found.get("problem") else []
    return [Table(pd.DataFrame(rows), caption), *problem]
