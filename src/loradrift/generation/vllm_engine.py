"""What engines of vLLM in this process share: adapters loaded and judged, requests run."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from loradrift.adapters import AdapterFiles, read_files
from loradrift.config import UserError
from loradrift.generation import vllm_library, vllm_rules
from loradrift.generation.base import EngineSettings, Request
from loradrift.generation.errors import is_out_of_memory, one_line_errors
from loradrift.generation.requests import check_requests
from loradrift.generation.settings import text_config
from loradrift.weights import StoredWeights


class VllmInProcess:
    """A model in vLLM, with adapters side by side.

    Args:
        settings: What it serves.
        llm: vLLM's ``LLM``, started with these settings.
        max_rank: The rank that its LoRA has room for; 0 without LoRA.
    """

    def __init__(self, settings: EngineSettings, llm: Any, max_rank: int) -> None:
        self.settings = settings
        self.start_s = 0.0
        self.load_s: dict[str, float] = {}
        """Seconds that each adapter took to load."""

        self.max_rank = max_rank
        self._llm = llm
        self._vocabulary = text_config(settings.model).get("vocab_size")
        self._adapters: dict[str, Any] = {}
        self._stamps: dict[str, object] = {}
        self._loads = 0
        self._calls = 0
        self._every_slot_used = False

    def judged(self, files: AdapterFiles) -> AdapterFiles:
        """The files without what this engine has a place for beside factors."""
        return files

    def load_adapter(self, name: str, folder: Path) -> float:
        """Make another adapter known; gives the seconds that vLLM took to load it.

        Raises:
            UserError: If the name is taken, or vLLM cannot serve the adapter.
        """
        if not self.max_rank:
            raise UserError(f"adapter {name}: the engine was started without LoRA (lora=true)")
        if name in self._adapters:
            raise UserError(f"the engine has an adapter {name} already; unload it first")
        base = StoredWeights(self.settings.model)
        rank = vllm_rules.check_adapter(self.judged(read_files(folder)), base)
        if rank > self.max_rank:
            raise UserError(
                f"adapter {name}: its rank must be at most {self.max_rank}, the engine's "
                f"max_lora_rank, got {rank}"
            )
        return self.add(name, folder)

    def add(self, name: str, folder: Path) -> float:
        """Load an adapter that has been judged; see :meth:`load_adapter`."""
        from vllm.lora.request import LoRARequest

        self._loads += 1
        adapter = LoRARequest(name, self._loads, str(folder.resolve()))
        files = vllm_rules.stamp(folder)
        started = perf_counter()
        with one_line_errors(f"adapter {name} ({folder})"):
            self._llm.llm_engine.add_lora(adapter)
        self.load_s[name] = perf_counter() - started
        self._adapters[name], self._stamps[name] = adapter, files
        slots = vllm_rules.lora_slots(self.settings)
        self._every_slot_used |= len(self._adapters) >= slots
        return self.load_s[name]

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; UserError if it is unknown."""
        if name not in self._adapters:
            raise UserError(f"the engine has no adapter {name}")
        self._llm.llm_engine.remove_lora(self._adapters.pop(name).lora_int_id)
        del self._stamps[name]

    def close(self) -> None:
        """End vLLM and give its memory back."""
        llm, self._llm = self._llm, None
        vllm_library.stop(llm)

    def check(self, requests: Sequence[Request], *, max_tokens: int) -> None:
        """Refuse what would end the engine, or what it would answer wrongly.

        Raises:
            UserError: If an adapter is unknown or has changed, a prompt is too long, a request asks
                for an intervention, or rows of the base model would get an adapter.
        """
        check_requests(
            requests,
            self.settings,
            self._adapters,
            vocabulary=self._vocabulary,
            max_tokens=max_tokens,
        )
        for request in requests:
            if request.intervention is not None:
                raise UserError(
                    f"request {request.id} has an intervention, which vLLM cannot make; engine=hf"
                )
        asked = {request.adapter for request in requests}
        for name in asked - {None}:
            assert name is not None
            folder = Path(self._adapters[name].lora_path)
            if vllm_rules.stamp(folder) != self._stamps[name]:
                raise UserError(f"adapter {name}: {folder} has changed since it was loaded")
        on_cpu = self.settings.accelerator == "cpu"
        if on_cpu and self._every_slot_used and None in asked and len(asked) > 1:
            raise UserError(
                "max_loras must leave a slot that no adapter has used where the base model answers "
                "beside adapters: on a CPU its rows would get an adapter; got "
                f"{vllm_rules.lora_slots(self.settings)}"
            )

    def run(
        self, requests: Sequence[Request], params: Sequence[Any]
    ) -> Iterator[tuple[int, Any, float]]:
        """A request's place, what vLLM put out, and the seconds since submission."""
        engine = self._llm.llm_engine
        self._calls += 1
        places = {f"{self._calls}-{index}": index for index in range(len(requests))}
        started = perf_counter()
        try:
            with one_line_errors("vLLM failed"):
                for key, request, each in zip(places, requests, params, strict=True):
                    prompt = {"prompt_token_ids": list(request.prompt_ids)}
                    adapter = self._adapters.get(request.adapter or "")
                    engine.add_request(key, prompt, each, lora_request=adapter)
                while engine.has_unfinished_requests():
                    outputs = engine.step()
                    now = perf_counter() - started
                    for output in outputs:
                        yield places[output.request_id], output, now
        finally:
            if engine.has_unfinished_requests():
                engine.abort_request(list(places))


Kind = TypeVar("Kind", bound=VllmInProcess)


@contextmanager
def started_vllm(
    kind: Callable[[EngineSettings, Any, int], Kind],
    settings: EngineSettings,
    ranks: Sequence[int],
    **options: Any,
) -> Iterator[Kind]:
    """Start an engine and load the settings' adapters, which have been judged.

    Args:
        kind: Its class.
        settings: What it serves.
        ranks: Those of the adapters.
        options: Engine arguments besides those of the settings.

    Raises:
        UserError: If vLLM cannot serve the model or an adapter; says why.
        MemoryError: If there is too little memory.
    """
    options |= vllm_rules.engine_options(settings, max(ranks, default=1))
    vllm_library.import_vllm(settings.accelerator, vllm_rules.environment(settings))
    started = perf_counter()
    with one_line_errors(f"vLLM cannot serve {settings.model}"), _cache_errors(settings):
        llm = vllm_library.start(options, settings.threads)
    engine = kind(settings, llm, options.get("max_lora_rank", 0))
    try:
        for name, folder in settings.adapters.items():
            engine.add(name, folder)
        engine.start_s = perf_counter() - started
        yield engine
    finally:
        engine.close()


@contextmanager
def _cache_errors(settings: EngineSettings) -> Iterator[None]:
    """A cache too small for one request, in words of the settings: vLLM's are of other keys."""
    try:
        yield
    except ValueError as error:
        if is_out_of_memory(error) or not re.search("KV cache|cache blocks", str(error)):
            raise
        raise UserError(
            f"kv_cache_bytes must hold one request of {settings.max_length} tokens (max_length), "
            f"got {settings.kv_cache_bytes}"
        ) from error
