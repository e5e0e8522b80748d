"""From a configuration to the plan of a cell: adapters exported, prompts drawn, arms listed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import UserError
from loradrift.generation.base import OPENERS
from loradrift.generation.server_process import BASE
from loradrift.progress import Tenths, announced, tell
from loradrift.serving.arms import make_arms
from loradrift.serving.bases import Base, check_length, find_base
from loradrift.serving.cache_room import check_cache
from loradrift.serving.choice import Source, choose_sources, named_base
from loradrift.serving.config import ServingBenchmarkConfig
from loradrift.serving.export import Servable, draw_adapter, export_cached
from loradrift.serving.plan import Plan, Prompt, ServedAdapter, ServerPlan
from loradrift.serving.prompting import fingerprint, make_prompts, origin, prompt_data

CUT = (
    "left out here: a second server, one engine for each merged model, an engine that keeps too "
    "few adapters in memory, and the sweep of request rates (serving.full=true, or scale=small)"
)


QUIET_S = 5.0
"""Seconds that exports may last before a line says how long they will take; most are kept ones."""


class Prepared(NamedTuple):
    """A cell that can be measured."""

    plan: Plan
    prompts: list[Prompt]
    identity: dict[str, Any]
    """What makes two cells the same."""


def prepare(config: ServingBenchmarkConfig) -> Prepared:
    """Find, export and draw what a cell takes.

    Raises:
        UserError: If something is missing, or does not go together.
    """
    sources = choose_sources(config)
    base = find_base(config, sources)
    check_length(config, base)
    check_cache(config, base)
    with announced("exporting the adapters"):
        adapters = _adapters(config, sources, base)
    with announced("making the prompts"):
        prompts = make_prompts(config, sources, base)
    plan = _plan(config, base, adapters, prompt_data(config, sources))
    if plan.server is not None:
        refuse_names(each.name for each in adapters)
    return Prepared(plan, prompts, _identity(config, plan, fingerprint(prompts)))


def refuse_names(names: Iterable[str]) -> None:
    """Refuse an adapter by a name that a server has for something else."""
    if BASE in names:
        raise UserError(f"adapter {BASE}: the server calls its base model so; rename the folder")


def _adapters(
    config: ServingBenchmarkConfig, sources: Sequence[Source], base: Base
) -> list[ServedAdapter]:
    """As many adapters as the largest arm takes; those that lack are drawn like the first."""
    cache, serving, wanted = Path(config.cache), config.serving, max(config.serving.adapters)
    served: list[ServedAdapter] = []
    progress = Tenths("adapters", wanted, quiet_s=QUIET_S)
    for source in sources:
        servable = _exported(source, cache, base, typed=bool(serving.folders))
        for notice in (*servable.notices, *_unjudged(source, base, config)):
            tell(f"{source.name}: {notice}")
        folder = adapter_for(config.engine, source, servable, Path(base.path))
        label_seed = seed_of(source, sources)
        served.append(_served(source.name, servable, folder, label_seed, trained_on(source)))
        progress.reach(len(served))
    like = sources[0].folder if sources else None
    rank = served[0].rank if served else serving.rank
    taken, number = {each.name for each in served}, count(1)
    while len(served) < wanted:
        n = next(number)
        name, seed = f"drawn_{n}", config.seed + n
        if name not in taken:  # a folder may be called so
            drawn = draw_adapter(Path(base.path), cache, like=like, rank=rank, seed=seed, name=name)
            assert drawn.adapter is not None
            served.append(_served(name, drawn, drawn.adapter, "", None))
            progress.reach(len(served))
    return served


def _exported(source: Source, cache: Path, base: Base, *, typed: bool) -> Servable:
    """The export of an adapter; an error names the key that was ``typed``, if one was."""
    try:
        return export_cached(source.folder, cache, base=base.path)
    except UserError as error:
        if not str(error).startswith("run="):
            raise
        key = "serving.folders: " if typed else ""
        raise UserError(f"{key}{str(error).removeprefix('run=')}") from None


def adapter_for(engine: str, source: Source, servable: Servable, base: Path) -> Path:
    """The folder of an adapter that the engine serves beside others.

    What vLLM does not take, PEFT may: DoRA, which it applies to one adapter after another.

    Raises:
        UserError: If the engine serves no such adapter; names what serves it.
    """
    from loradrift.adapters import read_files
    from loradrift.diagnose.adapter_case import find_adapter
    from loradrift.generation.adapter_rules import check_changes
    from loradrift.weights import StoredWeights

    if servable.adapter is not None:
        return servable.adapter
    if engine != "hf" or not servable.rank:  # whole weights have none
        others = "" if engine == "hf" else "; engine=hf serves DoRA"
        raise UserError(
            f"{source.folder} has no adapter that engine={engine} serves side by side{others}; "
            "serving.method or serving.folders chooses others"
        )
    folder = find_adapter(str(source.folder))[0]
    check_changes(read_files(folder), StoredWeights(base))
    return folder


def _unjudged(source: Source, base: Base, config: ServingBenchmarkConfig) -> Iterator[str]:
    """That an adapter names a base model with which ``model`` cannot be compared."""
    named = named_base(source) if source.run is None else None
    called = {Path(each).name.casefold() for each in (base.path, config.model.path)}
    if named and not Path(named).exists() and Path(named).name.casefold() not in called:
        yield (
            f"its base model {named} is not on this machine: whether it is model={base.name}, "
            "nobody can tell"
        )


def seed_of(source: Source, others: Sequence[Source]) -> str:
    """``, seed 2`` where several runs of one task are served."""
    if source.run is None:
        return ""
    task = source.run.coordinates["task"]
    same = [each for each in others if each.run and each.run.coordinates["task"] == task]
    return f", seed {source.run.coordinates['seed']}" if len(same) > 1 else ""


def trained_on(source: Source) -> str | None:
    """``generated`` or ``real`` rows; None of a folder, which says nothing about them."""
    return None if source.run is None else origin(str(source.run.config["data"]["name"]))


def _served(
    name: str, servable: Servable, adapter: Path, seed: str, data: str | None
) -> ServedAdapter:
    return ServedAdapter(
        name=name,
        label=servable.label + seed,
        task=servable.task,
        source=str(servable.source),
        rank=servable.rank,
        sha256=servable.sha256,
        drawn=servable.drawn,
        adapter=str(adapter),
        merged=str(servable.merged),
        classifier=None if servable.classifier is None else str(servable.classifier),
        certificate=servable.certificate or "",
        data=data,
    )


def _plan(
    config: ServingBenchmarkConfig, base: Base, adapters: list[ServedAdapter], data: str | None
) -> Plan:
    serving, trainer = config.serving, config.trainer
    offline = "hf" if config.engine == "hf" else "vllm"
    on_cpu = trainer.accelerator == "cpu"
    names = [each.name for each in adapters]
    arms = make_arms(names, max(each.rank for each in adapters), offline, serving)
    server = serving.server
    return Plan(
        engine=config.engine,
        opener=OPENERS[offline],
        kernels={True: "CPU reference kernels", False: "GPU kernels"}[on_cpu]
        if offline == "vllm"
        else "",
        model=base._asdict(),
        dtype=serving.dtype,
        accelerator=trainer.accelerator,
        threads=trainer.threads,
        kv_cache_mb=serving.kv_cache_mb,
        mix=serving.mix,
        batch_sizes=tuple(sorted(serving.batch_sizes)),
        rounds=serving.rounds,
        max_tokens=serving.max_tokens,
        prompts=serving.prompts,
        prompt_data=data,
        prompt_length=serving.prompt_length,
        seed=config.seed,
        cache=config.cache,
        latency_target_s=server.latency_target_s,
        full=serving.full,
        memory=serving.memory and config.engine != "vllm_server",
        tiny_note="" if serving.full or config.engine == "hf" else CUT,
        adapters=tuple(adapters),
        arms=arms,
        server=None
        if config.engine == "hf" or not server.enabled
        else ServerPlan(
            concurrency=tuple(sorted(server.concurrency)),
            requests=server.requests,
            rates=tuple(sorted(server.rates)),
            port=server.port,
            start_timeout_s=server.start_timeout_s,
        ),
    )


def _identity(config: ServingBenchmarkConfig, plan: Plan, prompts: str) -> dict[str, Any]:
    """The configuration without what only observes, and digests of what it stands for."""
    serving = asdict(config.serving)
    for key in ("port", "start_timeout_s"):  # where and how long, not what
        del serving["server"][key]
    return {
        "benchmark": config.benchmark,
        "engine": config.engine,
        "model": asdict(config.model),
        "data": asdict(config.data),
        "trainer": {"accelerator": config.trainer.accelerator, "threads": config.trainer.threads},
        "seed": config.seed,
        "serving": serving,
        "adapters": {each.name: dict(each.sha256) for each in plan.adapters},
        "prompts": prompts,
        "base_model": plan.model["fingerprint"],
    }
