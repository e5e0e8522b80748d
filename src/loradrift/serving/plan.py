"""What a cell measures: ``plan.json`` and ``prompts.json``, all that the worker process reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.files import read_json, write_json
from loradrift.generation.base import EngineSettings, Request, Sampling
from loradrift.serving.arms import Arm
from loradrift.serving.workload import Workload

SCHEMA = 1


@dataclass(frozen=True)
class ServedAdapter:
    """An adapter, as the cell serves it."""

    name: str
    label: str
    task: str | None
    source: str
    rank: int
    sha256: Mapping[str, str]
    drawn: bool
    adapter: str
    """Folder that the engine takes."""

    merged: str
    """Folder of the merged model."""

    classifier: str | None = None
    certificate: str = ""
    """What is known of the adapter as it was trained or drawn, in a few words."""

    data: str | None = None
    """What it was trained on: ``generated`` or ``real``; None where that is not known."""


@dataclass(frozen=True)
class Prompt:
    """A prompt, and where it comes from."""

    token_ids: tuple[int, ...]
    task: str
    row: str
    """The id of the task's row."""


@dataclass(frozen=True)
class ServerPlan:
    """What the server is asked."""

    concurrency: tuple[int, ...]
    requests: int
    rates: tuple[float, ...]
    port: int | None
    start_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A cell; values that JSON can hold."""

    engine: str
    opener: str
    """What starts the offline engine, ``package.module:function``."""

    kernels: str
    model: Mapping[str, Any]
    """``name``, ``path``, ``fingerprint``, ``parameters`` and ``label``."""

    dtype: str
    accelerator: str
    threads: int | None
    kv_cache_mb: int
    mix: str
    batch_sizes: tuple[int, ...]
    rounds: int
    max_tokens: int
    prompts: str
    prompt_length: int
    seed: int
    cache: str
    latency_target_s: float
    full: bool
    memory: bool
    tiny_note: str
    adapters: tuple[ServedAdapter, ...]
    arms: tuple[Arm, ...]
    server: ServerPlan | None
    cannot_tell_apart: tuple[tuple[str, str, float], ...] = ()
    prompt_data: str | None = None
    """Whose rows the prompts are: ``generated``, ``real`` or both; None where they are drawn."""

    schema: int = field(default=SCHEMA)

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn: all of ``max_tokens``, the likeliest each."""
        return Sampling(max_tokens=self.max_tokens, seed=self.seed)

    @property
    def certificates(self) -> dict[str, str]:
        """What each adapter's certificate says."""
        return {each.name: each.certificate for each in self.adapters}

    @property
    def offline(self) -> bool:
        """Whether arms are measured in process."""
        return self.engine != "vllm_server"

    def model_of(self, adapter: str | None) -> Path:
        """Folder of a merged model; None is the base."""
        merged = {each.name: each.merged for each in self.adapters}
        return Path(self.model["path"] if adapter is None else merged[adapter])

    def adapter_folder(self, name: str) -> Path:
        """Folder of an adapter that engines take."""
        return Path(next(each.adapter for each in self.adapters if each.name == name))

    def settings(self, arm: Arm, model: str | None = None) -> EngineSettings:
        """The engine of an arm; ``model`` says which of its merged ones."""
        folders = {name: self.adapter_folder(name) for name in arm.adapters} if arm.lora else {}
        return EngineSettings(
            model=self.model_of(model),
            adapters=folders,
            lora=arm.lora,
            dtype=self.dtype,
            accelerator=self.accelerator,
            threads=self.threads,
            max_loras=arm.max_loras,
            max_cpu_loras=arm.max_cpu_loras,
            max_lora_rank=arm.max_lora_rank,
            max_length=self.prompt_length + self.max_tokens,
            kv_cache_bytes=self.kv_cache_mb * 2**20,
            seed=self.seed,
        )

    def workload(self, prompts: Sequence[Prompt]) -> Workload:
        """Which prompts each call asks."""
        return Workload(self.mix, [prompt.task for prompt in prompts], self.seed)


def make_requests(
    prompts: Sequence[Prompt], numbers: Sequence[int], adapters: Sequence[str | None]
) -> list[Request]:
    """One request for each prompt's number and adapter, side by side."""
    pairs = enumerate(zip(numbers, adapters, strict=True))
    return [Request(str(i), prompts[n].token_ids, adapter) for i, (n, adapter) in pairs]


def write_plan(folder: Path, plan: Plan) -> None:
    """Write ``plan.json``."""
    arms = [arm._asdict() for arm in plan.arms]
    write_json(folder / "plan.json", asdict(plan) | {"arms": arms})


def read_plan(folder: Path) -> Plan:
    """Read ``plan.json``; UserError if it is damaged."""
    path = folder / "plan.json"
    try:
        values: dict[str, Any] = read_json(path)
        server = values.get("server")
        adapters = tuple(ServedAdapter(**each) for each in values["adapters"])
        arms = [Arm(**each | {"adapters": tuple(each["adapters"])}) for each in values["arms"]]
        values |= {"adapters": adapters, "arms": tuple(arms)}
        values["server"] = server and ServerPlan(
            **server | {key: tuple(server[key]) for key in ("concurrency", "rates")}
        )
        values["cannot_tell_apart"] = tuple(map(tuple, values["cannot_tell_apart"]))
        values["batch_sizes"] = tuple(values["batch_sizes"])
        known = {each.name: values[each.name] for each in fields(Plan) if each.name in values}
        return Plan(**known)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None


def write_prompts(folder: Path, prompts: Sequence[Prompt]) -> None:
    """Write ``prompts.json``."""
    write_json(folder / "prompts.json", [asdict(prompt) for prompt in prompts])


def read_prompts(folder: Path) -> list[Prompt]:
    """Read ``prompts.json``; UserError if it is damaged."""
    path = folder / "prompts.json"
    try:
        rows: list[dict[str, Any]] = read_json(path)
        return [Prompt(**row | {"token_ids": tuple(row["token_ids"])}) for row in rows]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
