"""What each way to steer takes in memory: bytes beside the weights, and what a process takes."""

import multiprocessing
from typing import TYPE_CHECKING

from loradrift.config import UserError
from loradrift.error_messages import one_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from loradrift.steering.cost_plan import CostPlan

FLOAT32 = 4
"""Bytes of a number."""


def measure_memory(plan: "CostPlan", *, processes: bool) -> dict[str, dict[str, int]]:
    """``memory.json``: by arm, the bytes beside the weights and the most that a process took.

    ``extra_bytes`` are an adapter's factors and a hook's vectors, in float32. ``resident_bytes``
    (with ``processes``) are of a process in which the arm has answered its largest batch, of a
    GPU's memory where that is used.

    Raises:
        UserError: If a process fails.
        MemoryError: If one is killed, which the system does where memory is too little.
    """
    from loradrift.steering.cost_plan import COST_ARMS

    found = {"extra_bytes": {arm: extra_bytes(plan, arm) for arm in COST_ARMS}}
    if processes:
        found["resident_bytes"] = {arm: _in_own_process(plan, arm) for arm in COST_ARMS}
    return found


def extra_bytes(plan: "CostPlan", arm: str) -> int:
    """Bytes that steering holds beside the model's own weights."""
    from loradrift.adapters.directions import read_direction_changes

    if arm == "adapter":
        changes = read_direction_changes(plan.folder).values()
        return FLOAT32 * sum(each.B_OR.numel() + each.A_RI.numel() for each in changes)
    if arm == "hook":
        return FLOAT32 * sum(len(each.vector) for each in plan.interventions)
    return 0


def _in_own_process(plan: "CostPlan", arm: str) -> int:
    # not forked: torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(theirs, plan, arm), daemon=True)
    process.start()
    theirs.close()
    try:
        found: int | str = ours.recv()
    except EOFError:
        process.join()
        raise MemoryError(
            f"the process that measures the memory of {arm} has ended (exit code "
            f"{process.exitcode}): out of memory, if nobody has killed it; memory=false leaves it "
            "out"
        ) from None
    process.join()
    if isinstance(found, str):
        raise UserError(f"memory of {arm}: {found}; memory=false leaves it out")
    return found


def _tell(pipe: "Connection", plan: "CostPlan", arm: str) -> None:
    try:
        pipe.send(resident_bytes(plan, arm))
    except Exception as error:
        pipe.send(one_line(error))


def resident_bytes(plan: "CostPlan", arm: str) -> int:
    """The most that this process takes while an arm answers its largest batch."""
    from loradrift.adapters.directions import read_direction_changes
    from loradrift.generation.hf import open_hf
    from loradrift.training.resources import peak_memory_bytes, reset_peak_memory
    from loradrift.weights import apply_to

    with open_hf(plan.settings(adapter=arm == "adapter")) as engine:
        if arm == "merged":  # for good: what a block needs to take it out again is not kept
            for name, change in read_direction_changes(plan.folder).items():
                weight = engine.backbone.causal_lm.get_submodule(name).weight
                weight.copy_(apply_to(weight, change))
        reset_peak_memory()
        engine.generate(plan.requests(arm, max(plan.batch_sizes)), plan.sampling)
        return peak_memory_bytes(plan.accelerator)
