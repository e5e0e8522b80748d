"""What each arm takes of the machine's memory: a pass of its own, in one process an arm."""

import ctypes
import gc
import multiprocessing
import os
import pkgutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.error_messages import one_line
from loradrift.serving.arms import Arm
from loradrift.serving.engines import open_arm, settle
from loradrift.serving.plan import Plan, Prompt, make_requests

MB = 2**20
TOGETHER = 2
"""Arms at a time on a CPU, since nothing is timed; on a GPU one."""


TOKENS = 16
"""Tokens of an answer of vLLM, whose memory is reserved before and depends on them no more."""

FIGURES = ("memory_gb", "kv_cache_gb", "gpu_peak_gb")
"""What ``memory.json`` says of each arm."""

LIBRARIES = ("transformers.models.auto.modeling_auto", "peft")
"""What transformers' engine loads only when it starts."""


def measure_memory(plan: Plan, prompts: Sequence[Prompt]) -> dict[str, dict[str, Any]]:
    """Memory that each arm holds after it has answered its largest batch, in GB (10^9 bytes).

    Each arm runs in a fork of this process, which has imported everything and opened nothing:
    call it before any engine is open.

    Raises:
        UserError: If an arm's engine cannot be started.
        MemoryError: If there is too little memory.
    """
    preload(plan)
    together = TOGETHER if plan.accelerator == "cpu" else 1
    found: dict[str, dict[str, Any]] = {}
    own = [arm for arm in plan.arms if arm.kind != "engines"]
    for first in range(0, len(own), together):
        arms = own[first : first + together]
        running = [(arm, *_start(plan, prompts, arm)) for arm in arms]
        for arm, process, pipe in running:
            found[arm.name] = _result(arm, process, pipe)
    for arm in plan.arms:
        if arm.kind == "engines":
            found[arm.name] = side_by_side([found[f"merged_{name}"] for name in arm.adapters])
    return {name: {key: each[key] for key in FIGURES} for name, each in found.items()}


def side_by_side(engines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What engines take that have a process each, as their users run them.

    Files that they map, libraries above all, are in memory once.
    """
    files = [float(each["files_gb"]) for each in engines]
    summed: dict[str, Any] = {}
    for key in FIGURES:
        own = [each[key] for each in engines]
        summed[key] = None if None in own else sum(own)
    return summed | {"memory_gb": summed["memory_gb"] - sum(files) + max(files)}


def preload(plan: Plan) -> None:
    """Import what the engine needs, once for all forks, which then share what was imported."""
    pkgutil.resolve_name(plan.opener)
    if plan.engine == "hf":
        for module in LIBRARIES:
            import_module(module)
    else:
        from loradrift.generation import vllm_library, vllm_rules

        variables = vllm_rules.environment(plan.settings(plan.arms[0]))
        vllm_library.import_vllm(plan.accelerator, variables)
    settle()


def _start(plan: Plan, prompts: Sequence[Prompt], arm: Arm) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, plan, prompts, arm), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _result(arm: Arm, process: Any, pipe: Connection) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = pipe.recv()
    except EOFError:
        process.join()
        line = f"the process that measures the memory of {arm.name} was killed (exit code "
        line += f"{process.exitcode}"
        if process.exitcode == -signal.SIGKILL:
            raise MemoryError(f"{line}: out of memory, if nobody has killed it)") from None
        raise UserError(f"{line}); serving.memory=false leaves it out") from None
    process.join()
    if "error" in figures:
        error = MemoryError if figures["full"] else UserError
        raise error(f"memory of {arm.name}: {figures['error']}")
    return figures


def _measure(pipe: Connection, plan: Plan, prompts: Sequence[Prompt], arm: Arm) -> None:
    """Open an arm, have it answer, and tell what it takes; runs in a fork."""
    try:
        pipe.send(_figures(plan, prompts, arm))
    except Exception as error:
        pipe.send({"error": one_line(error), "full": isinstance(error, MemoryError)})


def _figures(plan: Plan, prompts: Sequence[Prompt], arm: Arm) -> dict[str, Any]:
    gpu = plan.accelerator == "gpu"
    with open_arm(plan, arm) as engines:
        for engine in engines.values():
            size = max(plan.batch_sizes)
            adapters = arm.adapters if arm.lora and arm.adapters else [None]
            asked = [adapters[i % len(adapters)] for i in range(size)]
            numbers = [i % len(prompts) for i in range(size)]
            most = plan.max_tokens if plan.engine == "hf" else TOKENS  # its cache grows
            sampling = replace(plan.sampling, max_tokens=min(most, plan.max_tokens))
            engine.generate(make_requests(prompts, numbers, asked), sampling)
        peak = None
        if gpu:
            import torch

            peak = torch.cuda.max_memory_allocated() / 1e9
        return_freed()
        return {
            "memory_gb": tree_bytes(os.getpid()) / 1e9,
            "files_gb": file_bytes(os.getpid()) / 1e9,
            "kv_cache_gb": None
            if plan.engine == "hf"
            else len(engines) * plan.kv_cache_mb * MB / 1e9,
            "gpu_peak_gb": peak,
        }


def return_freed() -> None:
    """Give back to the system what this process has freed.

    glibc keeps more or less of it, as its threads' allocations happen to fall: up to 0.2 GB of 1.5
    GB with a model of 135 M parameters, from one time to the next.
    """
    gc.collect()
    with suppress(AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and of those below it, pages that they share counted once.

    It is all of the largest process, and of each other one what no process shares with it. What
    else runs on this machine does not matter: a fork counts in full what it shares with its parent,
    as if it had been started by itself.
    """
    found = [_rollup(each) for each in tree(pid)]
    largest = max(found, key=lambda each: each.get("Rss", 0))
    private = sum(_private(each) for each in found) - _private(largest)
    return largest.get("Rss", 0) + private


def _private(rollup: Mapping[str, int]) -> int:
    return rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)


def file_bytes(pid: int) -> int:
    """Of a process's resident memory, the pages of files."""
    return _values(Path(f"/proc/{pid}/status")).get("RssFile", 0)


def tree(pid: int) -> Iterator[int]:
    """A process, and all that it has started."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in tasks.read_text().split():
                yield from tree(int(child))


def _rollup(pid: int) -> dict[str, int]:
    return _values(Path(f"/proc/{pid}/smaps_rollup"))


def _values(path: Path) -> dict[str, int]:
    """The sizes in one of ``/proc``'s tables, in bytes; none where the process has ended."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith(" kB"):
                found[key] = int(value.split()[0]) * 1024
    return found
