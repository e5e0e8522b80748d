"""What every engine takes and gives."""

import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loradrift.config.errors import check

POSITIONS = ("all", "prompt", "response")
"""Where a vector is added: at every token, at the prompt's, or where an answer is chosen."""


@dataclass(frozen=True)
class Intervention:
    """``h' = h + coefficient * vector`` on one block's output."""

    layer: int
    vector: tuple[float, ...]
    coefficient: float
    positions: str = "all"
    """One of :data:`POSITIONS`; ``response`` is the prompt's last token, whose output chooses the
    answer's first one, and the answer's own, as Chen et al. 2025 (arXiv:2507.21509) steer."""

    def __post_init__(self) -> None:
        check(self.positions in POSITIONS, "positions", " or ".join(POSITIONS), self.positions)


@dataclass(frozen=True)
class Request:
    """One prompt, and the model that is asked to answer it."""

    id: str
    prompt_ids: tuple[int, ...]
    adapter: str | None = None
    """One of the engine's adapters; None is the base model."""

    interventions: tuple[Intervention, ...] = ()
    """What is added to the blocks' outputs, all of it together."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    max_tokens: int = 128
    temperature: float = 0.0
    """0 takes the likeliest token."""

    ignore_eos: bool = True
    """Go on to ``max_tokens``, so that every answer takes the same work."""

    seed: int = 0
    """With a request's id, decides its draws: they do not depend on what is answered beside it."""

    def __post_init__(self) -> None:
        check(self.max_tokens > 0, "max_tokens", "positive", self.max_tokens)
        check(self.temperature >= 0, "temperature", "0 or more", self.temperature)


@dataclass(frozen=True)
class Completion:
    """An engine's answer to one request."""

    id: str
    token_ids: tuple[int, ...]
    token_times_s: tuple[float, ...]
    """When each token came, in seconds from the request's submission."""

    served: str | None = None
    """The adapter that the engine says has answered; None is the base model. A server names it, and
    vLLM in this process has the ``lora_request`` in each request's own output; ``hf`` repeats what
    was asked. Only tokens tell what an engine's kernels have done."""


DTYPES = ("float32", "bfloat16")
"""What a model's weights are kept in."""


@dataclass(frozen=True)
class EngineSettings:
    """A model in an engine, with adapters side by side."""

    model: Path
    """Folder of the base model, or of a merged one."""

    adapters: Mapping[str, Path] = field(default_factory=dict)
    """Name -> folder of a PEFT adapter. With none, the engine has no LoRA unless ``lora``."""

    lora: bool = False
    """Enable LoRA although there is no adapter."""

    dtype: str = "float32"
    """``float32`` or ``bfloat16``."""

    accelerator: str = "cpu"
    threads: int | None = None
    """CPU threads of each engine; None leaves the library's own choice."""

    max_loras: int | None = None
    """Adapters in the device's memory at a time; None is all of them, and on a CPU one more: the
    kernels there give rows of the base model, beside adapters, what is in the last place."""

    max_cpu_loras: int | None = None
    """Adapters in the host's memory at a time; None is the engine's own choice."""

    max_lora_rank: int | None = None
    """The rank that is reserved; None is the least that holds all adapters."""

    max_length: int = 512
    """Most tokens of a prompt and its answer together."""

    kv_cache_bytes: int = 256 * 2**20
    """Of vLLM's cache of keys and values; ``hf`` takes what it needs."""

    seed: int = 0

    def __post_init__(self) -> None:
        check(self.dtype in DTYPES, "dtype", " or ".join(DTYPES), self.dtype)
        for key in ("max_loras", "max_cpu_loras", "max_lora_rank", "threads"):
            value = getattr(self, key)
            check(value is None or value > 0, key, "positive", value)


class Engine(Protocol):
    """A model that answers prompts; made by :func:`open_engine`, and gone when that ends."""

    settings: EngineSettings
    start_s: float
    """Seconds that it took to start, its model loaded and its adapters known."""

    load_s: Mapping[str, float]
    """Seconds that each adapter took to load."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """Answer requests, all of them handed over at once.

        Raises:
            UserError: If an adapter is unknown, or a request asks for what the engine cannot do.
        """
        ...

    def log_likelihoods(self, requests: Sequence[Request]) -> list[float]:
        """Log-likelihood (nats) of each prompt's tokens but the first, given those before it."""
        ...

    def load_adapter(self, name: str, folder: Path) -> float:
        """Make another adapter known; gives the seconds that it took."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter."""
        ...


OPENERS = {
    "vllm": "loradrift.generation.vllm_offline:open_vllm",
    "vllm_server": "loradrift.generation.vllm_server:open_server",
    "hf": "loradrift.generation.hf:open_hf",
}
"""What starts each engine, imported when it does: takes its settings, and is a context manager."""


def open_engine(name: str, settings: EngineSettings) -> AbstractContextManager[Engine]:
    """Start an engine; it is stopped, whatever happens, when the block ends.

    Raises:
        UserError: If it is not installed, or cannot serve the model or an adapter; says why.
    """
    opened: AbstractContextManager[Engine] = pkgutil.resolve_name(OPENERS[name])(settings)
    return opened
