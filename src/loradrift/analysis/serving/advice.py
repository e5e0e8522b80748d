"""What to set, computed from the measurement, with the figures behind it."""

import math
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.serving.adapters import EVICTED, FILES
from loradrift.analysis.serving.latencies import ALL
from loradrift.analysis.serving.memory import IN_TURN, memory_column
from loradrift.analysis.serving.overheads import LEAST_ROUNDS
from loradrift.analysis.serving.plans import Arm, Plan
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.text import Cost, contrast_row, cost, time_cost
from loradrift.analysis.serving.verdict import rounds_text
from loradrift.config.benchmarks import RANKS
from loradrift.report.blocks import interval_text


class Advice(NamedTuple):
    """One setting."""

    setting: str
    value: str
    because: str


def advise(measured: Measured) -> list[Advice]:
    """What the cell says of each setting; of wrong answers there is nothing to advise."""
    if not measured.answers.sound:
        return []
    return [
        each
        for each in (_merge(measured), _slots(measured), _host(measured), _rank(measured))
        if each
    ]


def _merge(measured: Measured) -> Advice | None:
    """Merge, or serve adapters side by side: what each costs."""
    plan, even = measured.cell.plan, measured.break_even
    largest = max(plan.of_kind("single", "multi"), key=lambda arm: len(arm.adapters), default=None)
    row = None if largest is None else contrast_row(measured, largest.name, "merged")
    if largest is None or row is None:
        return None
    count = len(largest.adapters)
    because = (
        f"{count} adapters in one engine take {time_cost(row, 'as merged models')} at {measured.at}"
    )
    for arm in plan.of_kind("engines"):
        beside = contrast_row(measured, largest.name, arm.name)
        if beside is not None:  # engines that are deployed do not wait for each other
            them = f"as {plan.label(arm.name)} that share the requests and answer in turn"
            because += f", and {time_cost(beside, them)}, which decides nothing"
    by_time = {
        Cost.SHOWN: "merged if time matters more",
        Cost.SAVES: "side by side if time matters more",
        Cost.SMALL: "side by side costs little time",
        Cost.UNDECIDED: "by time undecided",
    }[cost(row)]
    if even is None:
        return Advice("merge or not", by_time, f"{because}; memory was not measured")
    times = " (a process each)" if even.measured else f" ({count} times one)"
    because += (
        f"; one engine with {count} takes {even.one_engine(count):.3g} GB, {count} merged engines "
        f"{even.merged_engines(count):.3g} GB{times}"
    )
    least = even.adapters
    by_memory = "merged if memory matters more"
    if least is not None:
        by_memory = f"side by side from {least} adapters on if memory matters more"
    value = f"{by_memory}, {by_time}"
    if least is not None and cost(row) is Cost.SAVES:
        value = f"side by side from {least} adapters on, for memory and for time"
    return Advice("merge or not", value, because)


def _slots(measured: Measured) -> Advice | None:
    """max_loras: room for all adapters, or what too few slots cost."""
    plan = measured.cell.plan
    few = next(iter(plan.of_kind("few_slots")), None)
    full = None if few is None else _same_adapters(plan, few)
    if few is None or full is None:
        return None
    row = contrast_row(measured, few.name, full.name)
    if row is None:
        return None
    count, slots, found = len(few.adapters), few.max_loras, cost(row)
    because = (
        f"{count} adapters in {slots} slots take {time_cost(row, f'as in {count}')}, and "
        f"{_more_memory(measured, few.name, full.name)}"
    )
    value = {
        Cost.SHOWN: f"{count}: a slot for every adapter",
        Cost.UNDECIDED: f"{count}, if in doubt: a slot for every adapter",
    }.get(found, f"{slots} or more")
    if plan.accelerator == "cpu":
        value += f"; {count + 1} where the base model is asked beside adapters"
        because += (
            "; the CPU kernels answer the base model's requests in a batch with adapters by the "
            "last slot's adapter, so one slot has to stay empty"
        )
    return Advice("max_loras", value, because)


def _host(measured: Measured) -> Advice | None:
    """max_cpu_loras: what a first request waits longer whose adapter is not in memory."""
    cold = measured.cold[measured.cold["adapter"] == ALL]
    rows = {row["place"]: row for row in cold.to_dict("records")}
    row = rows.get(EVICTED, rows.get(FILES))
    if row is None:
        return None
    count = len(measured.cell.plan.adapters)
    where, loading = "in its files, which", f" ({1000 * row['load_s']:.3g})"
    if row["place"] == EVICTED:  # the engine loads it itself
        where, loading = "that others have pushed out of its memory, and whose files", ""
    more, low, high = (1000 * row[name] for name in ("difference_s", "low", "high"))
    ends = interval_text(low, high)
    interval = "no interval" if ends == "-" else f"95 % interval {ends}"
    because = (
        f"with an adapter {where} the system keeps in memory after the first round, a first "
        f"request waits {1000 * row['cold_s']:.3g} ms for its first token, loading included"
        f"{loading}, and later ones {1000 * row['warm_s']:.3g} ms: a difference of {more:.3g} ms "
        f"({interval})"
    )
    if row["low"] > 0 and row["rounds"] >= LEAST_ROUNDS:
        return Advice("max_cpu_loras", f"{count} or more: all that are asked for", because)
    few = row["rounds"] < LEAST_ROUNDS
    why = f"undecided: {rounds_text(row['rounds'])}" if few else "no wait is shown"
    return Advice("max_cpu_loras", f"{count} or more, if in doubt", f"{because}; {why}")


def _rank(measured: Measured) -> Advice | None:
    """max_lora_rank: the adapters' own, or what declaring more costs."""
    plan = measured.cell.plan
    rank = max((each.rank for each in plan.adapters), default=0)
    declared = next(iter(plan.of_kind("declared_rank")), None)
    own = None if declared is None else _same_adapters(plan, declared)
    if declared is None or own is None:
        return None
    row = contrast_row(measured, declared.name, own.name)
    if row is None:
        return None
    because = (
        f"declaring {declared.max_lora_rank} for rank {rank} takes {time_cost(row)}, "
        f"and {_more_memory(measured, declared.name, own.name)}"
    )
    least = next((each for each in RANKS if each >= rank), rank)
    return Advice("max_lora_rank", f"{least}: the adapters' own", because)


def _same_adapters(plan: Plan, arm: Arm) -> Arm | None:
    """The arm with the same adapters side by side, and nothing else set."""
    same = (each for each in plan.of_kind("single", "multi") if each.adapters == arm.adapters)
    return next(same, None)


def _more_memory(measured: Measured, arm: str, than: str) -> str:
    """How much more memory an arm takes than another: a GPU's where that was measured."""
    column = memory_column(measured.memory)
    table: pd.DataFrame = measured.memory.set_index("arm")
    if arm not in table.index or than not in table.index:
        return "memory was not measured"
    more = 1000 * float(table[column][arm] - table[column][than])
    if math.isnan(more):
        return "memory was not measured"
    where = "of the GPU's memory" if column == "gpu_peak_gb" else "of memory"
    return f"{abs(more):.0f} MB {'less' if more < 0 else 'more'} {where}"


BYTES = {"float32": 4, "bfloat16": 2}
"""Of a parameter."""

SMALL = 100e6
"""Parameters below which an engine's own work is most of a call's time."""


def untold(measured: Measured) -> list[str]:
    """What these data cannot tell, a sentence each."""
    cell, said = measured.cell, []
    plan = cell.plan
    if plan.accelerator == "cpu":
        said.append(
            f"These are times of {plan.kernels or 'a CPU'}: what an adapter costs on a GPU, they "
            "do not say."
        )
    if plan.dtype != "float32":
        said.append(
            f"In {plan.dtype} rounding changes answers: other tokens are right here if all of an "
            "answer's together are near its model's best, as those of a model that is not served "
            "and is alike could be too."
        )
    parameters = float(plan.model.get("parameters") or 0)
    if 0 < parameters < SMALL:
        said.append(
            f"The model has {parameters / 1e6:.3g} million parameters: most of a call's time is "
            "the engine's own work, and a larger model's ratios of times are others."
        )
    weights = 1e-9 * BYTES.get(plan.dtype, 4) * parameters
    memory = measured.memory.set_index("arm")[memory_column(measured.memory)]
    if "merged" in memory and weights < 0.2 * memory["merged"]:
        said.append(
            f"Of an engine's {memory['merged']:.2f} GB the model's weights are {weights:.2g} GB: "
            "with a larger model, the memory of several engines is another multiple of one "
            "engine's."
        )
    calls = measured.calls
    served = calls.loc[(calls["phase"] != "offline") & calls["arm"].isin(plan.merged), "arm"]
    if served.nunique() == 1 < len(plan.merged):
        said.append(f"Of the merged models the server had one ({plan.label(served.iloc[0])}).")
    if not plan.of_kind("engines"):
        said.append(
            "Merged engines beside each other were not measured (serving.full=true measures "
            "them): the merged models here answer one batch each, alone on the machine."
        )
    else:
        said.append(
            f"{IN_TURN} Each has its share of a batch: where they answer at the same time, as "
            "servers do, their times are others."
        )
    if not (calls["phase"] == "open_loop").any():
        said.append("No request rates were measured, so nothing is said about a server's limit.")
    return said
