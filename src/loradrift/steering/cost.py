"""``benchmark=steering_cost``: seconds and bytes that each way to steer takes for a token."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from loradrift.caching import recall
from loradrift.config import UserError
from loradrift.files import read_json, write_atomic, write_json
from loradrift.progress import QUIET_S, Tenths, announced, tell
from loradrift.runs import Cell, Status, open_benchmark
from loradrift.steering.config import SteeringCostConfig
from loradrift.steering.door import check_door

if TYPE_CHECKING:
    from loradrift.generation.hf import HfEngine
    from loradrift.steering.cost_plan import CostPlan

TIE = 0.01
"""Nats by which rounding may make the adapter's token another than the merged model's best."""


class Timing(NamedTuple):
    """A row of ``samples.parquet``: one call."""

    arm: str
    batch: int
    round: int
    ttft_s: float
    """Until the first tokens, the prompts' reading included."""

    s_per_token: float
    """From one token of an answer to the next, all rows of the batch together."""

    call_s: float
    tokens: int


def run(config: SteeringCostConfig, overrides: Sequence[str]) -> None:
    """Measure a cell, or the rounds that are left of it.

    Raises:
        UserError: If something that the user can fix is wrong, or the adapter does not answer as
            the merged weights do.
    """
    check_door(config, overrides)
    from loradrift.steering.cost_plan import COST_ARMS, make_plan

    with announced("finding the model and the direction"):
        plan = make_plan(config)
    identity = {
        "benchmark": config.benchmark,
        "engine": config.engine,
        "model": asdict(config.model),
        "data": asdict(config.data),
        "trainer": {"accelerator": plan.accelerator, "threads": plan.threads},
        "seed": config.seed,
        "trait": config.trait,
        "steering": asdict(config.steering),
        "batch_sizes": list(config.batch_sizes),
        "rounds": config.rounds,
        "memory": config.memory,
        "direction": dict(plan.facts["sha256"]),
    }
    with open_benchmark(config, identity, overrides) as cell:
        if cell.finished:
            tell(f"{cell.folder}: finished already")
            return
        began = time.perf_counter()
        rows = _measure(cell, config, plan)
        rates: dict[str, float | None] = {
            f"s_per_token/{arm}/{batch}": median(
                row.s_per_token for row in rows if (row.arm, row.batch) == (arm, batch)
            )
            for arm in COST_ARMS
            for batch in plan.batch_sizes
        }
        cell.save(
            status=Status.SUCCESS,
            metrics=rates,
            certificate=dict(plan.facts["certificate"]),
            fingerprints={"base_model": plan.base.fingerprint},
            performance={"wall_time_s": time.perf_counter() - began},
        )


def _measure(cell: Cell, config: SteeringCostConfig, plan: "CostPlan") -> list[Timing]:
    from loradrift.steering.memory import measure_memory

    if recall(cell.folder / "memory.json", read_json) is None:
        with announced("measuring memory"):
            found = measure_memory(plan, processes=config.memory)
        write_json(cell.folder / "memory.json", found)
    rows: list[Timing] = []
    progress = Tenths("round", config.rounds, quiet_s=QUIET_S)
    with engines(plan) as opened:
        check_adapter(plan, opened)
        for round in range(config.rounds):
            path = cell.folder / "rounds" / f"round={round:03d}.json"
            own = recall(path, _read_round)
            if own is None:
                own = [_call(opened[arm], plan, arm, n, round) for arm, n in plan.calls(round)]
                write_json(path, [row._asdict() for row in own])
            rows += own
            progress.reach(round + 1)
    write_samples(cell.folder / "samples.parquet", rows)
    return rows


@contextmanager
def engines(plan: "CostPlan") -> Iterator[Mapping[str, "HfEngine"]]:
    """An engine for each arm; the hook's is the base's, since a hook is there only while it adds.

    Each engine has answered once, so that nothing is measured that happens only then.
    """
    from loradrift.adapters.directions import read_direction_changes
    from loradrift.generation.hf import open_hf
    from loradrift.models.merging import merged

    changes = read_direction_changes(plan.folder)
    with ExitStack() as stack:
        plain = stack.enter_context(open_hf(plan.settings(adapter=False)))
        changed = stack.enter_context(open_hf(plan.settings(adapter=False)))
        stack.enter_context(merged(changed.backbone, changes))
        adapted = stack.enter_context(open_hf(plan.settings(adapter=True)))
        found = {"base": plain, "merged": changed, "adapter": adapted, "hook": plain}
        for arm, engine in found.items():
            engine.generate(plan.requests(arm, 1), plan.sampling)
        yield found


def check_adapter(plan: "CostPlan", opened: Mapping[str, "HfEngine"]) -> None:
    """Hold the unmerged adapter's answers against the merged weights' own.

    Raises:
        UserError: If they are another model's.
    """
    requests = plan.requests("adapter", min(4, max(plan.batch_sizes)))
    answers = opened["adapter"].generate(requests, plan.sampling)
    asked = plan.requests("merged", len(requests))
    gap = max(max(gaps) for gaps in opened["merged"].greedy_gaps(asked, answers))
    if gap > TIE:
        raise UserError(
            f"the adapter of {plan.folder} answers otherwise than the weights that it is "
            f"merged into: a token is {gap:.3g} nats below their best; make the direction again"
        )


def _call(engine: "HfEngine", plan: "CostPlan", arm: str, batch: int, round: int) -> Timing:
    requests = plan.requests(arm, batch)
    began = time.perf_counter()
    completions = engine.generate(requests, plan.sampling)
    call_s = time.perf_counter() - began
    times = completions[0].token_times_s  # one decoding: all rows have the same times
    rest = (times[-1] - times[0]) / max(1, len(times) - 1)
    tokens = sum(len(each.token_ids) for each in completions)
    return Timing(arm, batch, round, times[0], rest, call_s, tokens)


def _read_round(path: Path) -> list[Timing]:
    try:
        return [Timing(**row) for row in read_json(path)]
    except TypeError as error:
        raise ValueError(str(error)) from None


def write_samples(path: Path, rows: Sequence[Timing]) -> None:
    """Write ``samples.parquet``, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([row._asdict() for row in rows])
    with write_atomic(path) as temporary:
        pq.write_table(table, temporary)
