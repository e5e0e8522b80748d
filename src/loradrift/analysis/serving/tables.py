"""``analysis=serving``: cells -> tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from loradrift.analysis.serving import AnalyzeServingConfig
from loradrift.analysis.serving.adapters import adapter_table, cold_table, start_table
from loradrift.analysis.serving.answers import Answers, contradictions, count_answers
from loradrift.analysis.serving.latencies import band_table, call_table, in_order, latency_table
from loradrift.analysis.serving.memory import BreakEven, break_even, memory_table
from loradrift.analysis.serving.overheads import overhead_table
from loradrift.analysis.serving.reading import ServingCell, read_cells
from loradrift.analysis.serving.stability import Stability, check_rounds
from loradrift.analysis.serving.verdict import BATCH, H3, h3
from loradrift.config import check


class Measured(NamedTuple):
    """One cell, and what is computed from it."""

    cell: ServingCell
    answers: Answers
    calls: pd.DataFrame
    """One row per phase, load, arm and round."""

    latencies: pd.DataFrame
    """One row per phase, load, arm and adapter."""

    bands: pd.DataFrame
    """One row per phase, load and arm: with intervals over rounds."""

    overheads: pd.DataFrame
    """One row per phase, load, arm and what it is compared with."""

    adapters: pd.DataFrame
    """One row per load, arm and adapter: against its own merged model."""

    cold: pd.DataFrame
    memory: pd.DataFrame
    """One row per arm."""

    starts: pd.DataFrame
    """One row per engine."""

    break_even: BreakEven | None
    stability: Stability
    verdict: H3
    problems: Sequence[str]

    load: float
    """The load that reports look at: H3's batch size, or else the largest one."""

    @property
    def at(self) -> str:
        """``batch 8``, ``8 requests in flight``."""
        words = {"closed_loop": "requests in flight", "open_loop": "requests/s"}
        named = words.get(self.cell.phase)
        return f"{self.load:g} {named}" if named else f"batch {self.load:g}"


class Serving(NamedTuple):
    """All cells; the first is the one that the report is about."""

    cells: Sequence[Measured]
    problems: Sequence[str]
    """Cells that cannot be read, a line each."""


def tabulate(settings: AnalyzeServingConfig) -> Serving:
    """Read all cells and compute their tables.

    Raises:
        UserError: If there is no cell that can be read.
    """
    config = settings.analysis
    cells, problems = read_cells(Path(config.runs), settings.cell)
    names = sorted(cell.name for cell in cells)
    for name in settings.shown:
        known = name in names or any(name in line for line in problems)  # it is said to be damaged
        check(known, "shown", f"some of {', '.join(names)}", name)
    return Serving([measure(cell, config.seed) for cell in cells], problems)


def measure(cell: ServingCell, seed: int) -> Measured:
    """Compute the tables of one cell."""
    answers, calls = count_answers(cell), call_table(cell.samples)
    plan = cell.plan
    overheads = in_order(overhead_table(calls, plan, seed), plan)
    memory, verdict = memory_table(cell.memory, plan), h3(overheads, answers)
    loads = calls.loc[calls["phase"] == cell.phase, "load"].unique()
    return Measured(
        cell=cell,
        answers=answers,
        calls=calls,
        latencies=in_order(latency_table(cell.samples, calls, plan), plan),
        bands=in_order(band_table(calls, plan), plan),
        overheads=overheads,
        adapters=adapter_table(cell.samples, plan, cell.phase),
        cold=cold_table(cell.cold, plan),
        memory=memory,
        starts=start_table(cell.events),
        break_even=break_even(memory, plan),
        stability=check_rounds(calls, verdict),
        verdict=verdict,
        problems=[*cell.problems, *contradictions(cell, answers)],
        load=float(BATCH) if BATCH in loads else float(max(loads)),
    )


def all_cells(serving: Serving, table: str) -> pd.DataFrame:
    """A table of every cell in one, whose column ``cell`` says of which."""
    parts: dict[str, pd.DataFrame] = {
        each.cell.name: getattr(each, table) for each in serving.cells
    }
    kept = {name: part for name, part in parts.items() if len(part)} or parts
    return pd.concat(kept, names=["cell"]).reset_index("cell").reset_index(drop=True)
