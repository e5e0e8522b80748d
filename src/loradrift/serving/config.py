"""The keys of ``benchmark=serving`` and ``benchmark=export``."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from loradrift.config.benchmarks import RANKS, BenchmarkConfig
from loradrift.config.errors import UserError, check, check_option, check_positive
from loradrift.config.values import path_field

MIXES = ("round_robin", "uniform", "zipf", "one_hot")
"""How the adapters share the requests; ``one_hot`` gives all of them to one."""


@dataclass(kw_only=True)
class ServerConfig:
    """The server's part of a cell."""

    enabled: bool = True
    concurrency: list[int] = field(default_factory=lambda: [1, 4, 8])
    """Requests in flight at a time (closed loop)."""

    requests: int = 2
    """Requests of each client, one after the other; at a request rate, at least those of the most
    clients."""

    rates: list[float] = field(default_factory=list)
    """Requests per second (open loop); empty doubles the rate until the server is saturated."""

    latency_target_s: float = 1.0
    """Goodput counts the requests that end within so many seconds."""

    port: int | None = None
    """Null takes one that is free."""

    start_timeout_s: float = 300.0
    """Seconds that a server may take to come up."""

    def __post_init__(self) -> None:
        key = "serving.server"
        check_positive(self, key, "requests", "latency_target_s", "start_timeout_s")
        check(bool(self.concurrency), f"{key}.concurrency", "at least one number", [])
        for name in ("concurrency", "rates"):
            values = getattr(self, name)
            for value in values:
                check(value > 0, f"{key}.{name}", "positive", value)
            check(len(set(values)) == len(values), f"{key}.{name}", "different", values)
        port = self.port
        check(port is None or 0 < port < 2**16, f"{key}.port", "between 1 and 65535, or null", port)


@dataclass(kw_only=True)
class ServingConfig:
    """What is served, and how it is asked."""

    study: str | None = None
    """Whose runs' adapters are served; null is every study below ``runs``."""

    method: str = "lora"
    """The runs' method, or a variant as its folder is written."""

    folders: list[str] = field(default_factory=list)
    """Runs or adapters to serve instead of those below ``runs``."""

    source: str = "runs"
    """``runs``, or ``drawn``: adapters with random factors, for models that none was trained on."""

    rank: int = 8
    """Rank of drawn adapters."""

    adapters: list[int] = field(default_factory=lambda: [1, 2, 4])
    """How many adapters are side by side in an engine, one arm each. Where fewer were trained, the
    others are drawn like them."""

    mix: str = "round_robin"
    """``round_robin``, ``uniform``, ``zipf`` or ``one_hot``."""

    batch_sizes: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])
    rounds: int = 5
    max_tokens: int = 128
    prompts: str = "tasks"
    """``tasks`` (rows of the tasks' own), or ``fixed``: drawn tokens, ``prompt_length`` each."""

    prompt_length: int = 64
    """Tokens of a prompt; of a task's own, at most so many."""

    dtype: str = "float32"
    """``float32``, in which every answer must be its merged model's, or ``bfloat16``, which a GPU
    takes."""

    kv_cache_mb: int = 64
    declared_rank: int | None = 64
    """One arm more declares this ``max_lora_rank``, whatever the adapters' own; null leaves it."""

    slots: int | None = 2
    """One arm more has room for so many adapters only, and ones to swap; null leaves it."""

    memory: bool = True
    """Measure memory too, in one process an arm."""

    full: bool = False
    """All of it: a second server, one engine for each merged model, one that keeps no more adapters
    in memory than it has slots, a sweep of request rates."""

    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        key = "serving"
        check_option(self, f"{key}.source", "runs", "drawn")
        check_option(self, f"{key}.mix", *MIXES)
        check_option(self, f"{key}.prompts", "tasks", "fixed")
        check_option(self, f"{key}.dtype", "float32", "bfloat16")
        sizes = ("rank", "max_tokens", "prompt_length", "kv_cache_mb", "declared_rank", "slots")
        check_positive(self, key, *sizes)
        for name in ("rank", "declared_rank"):
            rank = getattr(self, name)
            check((rank or 0) <= RANKS[-1], f"{key}.{name}", f"at most {RANKS[-1]}", rank)
        check(self.rounds >= 1, f"{key}.rounds", "at least 1 (5 for intervals)", self.rounds)
        for name in ("adapters", "batch_sizes"):
            values = getattr(self, name)
            check(bool(values), f"{key}.{name}", "at least one number", values)
            for value in values:
                check(value > 0, f"{key}.{name}", "positive", value)
            check(len(set(values)) == len(values), f"{key}.{name}", "different", values)
        if self.source == "drawn" and self.folders:
            raise UserError("serving.folders has no effect with serving.source=drawn")


@dataclass(kw_only=True)
class ServingBenchmarkConfig(BenchmarkConfig):
    """Latency, throughput and memory of adapters side by side, against merged models."""

    benchmark: str = "serving"
    serving: ServingConfig = field(default_factory=ServingConfig)


@dataclass(kw_only=True)
class ExportConfig(BenchmarkConfig):
    """Make a run, or an adapter's folder, into folders that an engine can serve."""

    benchmark: str = "export"
    run: str = path_field(MISSING, kind="folder of a run or an adapter")
    """Folder of a run, or of a PEFT adapter."""

    base: str | None = path_field(None)
    """Folder or hub name of its base model; null is what the adapter or the run names."""

    out: str = path_field("")
    """Where it is written; "" is ``<results>/export/<task>-<method>-seed<n>-<digest>`` of a run,
    and ``<results>/export/<its name>-<digest>`` of an adapter's folder."""
