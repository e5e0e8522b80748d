"""What to set, computed from the measurement, with the figures behind it."""

from typing import NamedTuple

import pandas as pd

from loradrift.analysis.serving.plans import Arm, Plan
from loradrift.analysis.serving.tables import Measured
from loradrift.analysis.serving.text import contrast_row, overhead_text, says_slower
from loradrift.report.blocks import interval_text
from loradrift.serving.arms import round_up


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
    slower = says_slower(row)
    cost = (
        f"{count} adapters in one engine take {overhead_text(row)} longer than merged models at "
        f"batch {measured.load:g}"
    )
    if even is None:
        value = "merge, if time decides" if slower else "either"
        return Advice("merge or not", value, f"{cost}; memory was not measured")
    memory = (
        f"one engine with {count} takes {even.one_engine(count):.3g} GB, {count} merged engines "
        f"{even.merged_engines(count):.3g} GB" + ("" if even.measured else f" ({count} times one)")
    )
    least = even.adapters
    if least is None:
        value = "merge"
        memory += "; one engine takes no less memory, however many adapters it has"
    elif slower:
        value = f"side by side from {least} adapters on if memory decides, merged if time does"
    else:
        value = f"side by side from {least} adapters on"
    return Advice("merge or not", value, f"{cost}; {memory}")


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
    count, slots = len(few.adapters), few.max_loras
    cost = f"{count} adapters in {slots} slots take {overhead_text(row)} longer than in {count}"
    memory = _more_memory(measured, full.name, few.name)
    if says_slower(row):
        return Advice("max_loras", f"{count}: a slot for every adapter", f"{cost}{memory}")
    return Advice("max_loras", f"{slots} or more", f"{cost}: no cost is shown{memory}")


def _host(measured: Measured) -> Advice | None:
    """max_cpu_loras: whether a cold adapter's first request waits."""
    cold, count = measured.cold, len(measured.cell.plan.adapters)
    if cold.empty:
        return None
    difference = 1000 * cold["difference_s"]
    said = (
        f"a first request waits {1000 * cold['cold_ttft_s'].mean():.3g} ms for its first token "
        f"while its adapter is not loaded, and {1000 * cold['warm_ttft_s'].mean():.3g} ms after "
        f"(difference {interval_text(difference.min(), difference.max())} ms by adapter)"
    )
    if cold["load_s"].notna().any():
        said += f"; loading one beforehand takes {1000 * cold['load_s'].mean():.3g} ms"
    if (cold["low"] > 0).any():
        return Advice("max_cpu_loras", f"{count} or more: all that are asked for", said)
    return Advice("max_cpu_loras", "any", f"{said}: no cost is shown")


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
    cost = (
        f"declaring {declared.max_lora_rank} for rank {rank} takes {overhead_text(row)} longer"
        f"{_more_memory(measured, declared.name, own.name)}"
    )
    if says_slower(row):
        return Advice("max_lora_rank", f"{round_up(rank)}: the adapters' own", cost)
    value = f"{round_up(rank)} suffices"
    return Advice("max_lora_rank", value, f"{cost}: no cost in time is shown")


def _same_adapters(plan: Plan, arm: Arm) -> Arm | None:
    """The arm with the same adapters side by side, and nothing else set."""
    same = (each for each in plan.of_kind("single", "multi") if each.adapters == arm.adapters)
    return next(same, None)


def _more_memory(measured: Measured, arm: str, than: str) -> str:
    """How much more memory an arm takes than another; empty where it was not measured."""
    table: pd.DataFrame = measured.memory.set_index("arm")
    if arm not in table.index or than not in table.index:
        return ""
    more = 1000 * (table["memory_gb"][arm] - table["memory_gb"][than])
    return f", and {more:+.0f} MB"


def untold(measured: Measured) -> list[str]:
    """What these data cannot tell, a sentence each."""
    cell, said = measured.cell, []
    plan = cell.plan
    if plan.accelerator == "cpu":
        said.append(
            f"{plan.kernels}: they say nothing about GPUs, whose kernels compute all adapters of "
            "a batch together."
        )
    if plan.dtype != "float32":
        said.append(
            f"In {plan.dtype} rounding changes answers: other tokens are right here if each is "
            "near its model's best, which a wrong adapter that is alike could be too."
        )
    weights = 4e-9 * float(plan.model.get("parameters") or 0)
    memory = measured.memory.set_index("arm")["memory_gb"]
    if "merged" in memory and weights < 0.2 * memory["merged"]:
        said.append(
            f"Of {memory['merged']:.2f} GB for an engine the model's weights are {weights:.2g} GB: "
            "with a larger model memory differs otherwise between one engine and several."
        )
    if not plan.of_kind("engines"):
        said.append(
            "Merged engines side by side were not measured: they share the cores, so that several "
            "at once are slower than one (serving.full=true measures them)."
        )
    if not (measured.calls["phase"] == "open_loop").any():
        said.append("No request rates were measured, so nothing is said about a server's limit.")
    return said
