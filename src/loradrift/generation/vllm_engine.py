"""What engines of vLLM in this process share: started, adapters loaded, requests run."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from loradrift.config import UserError
from loradrift.generation import vllm_library, vllm_rules
from loradrift.generation.base import EngineSettings, Request
from loradrift.generation.errors import is_out_of_memory, one_line_errors
from loradrift.generation.vllm_adapters import VllmAdapters


class VllmInProcess(VllmAdapters):
    """A model in vLLM, with adapters side by side.

    Args:
        settings: What it serves.
        llm: vLLM's ``LLM``, started with these settings.
        max_rank: The rank that its LoRA has room for; 0 without LoRA.
    """

    def __init__(self, settings: EngineSettings, llm: Any, max_rank: int) -> None:
        super().__init__(settings, max_rank)
        self._llm = llm
        self._adapters: dict[str, Any] = {}
        self._loads = 0
        self._calls = 0

    def close(self) -> None:
        """End vLLM and give its memory back."""
        llm, self._llm = self._llm, None
        vllm_library.stop(llm)

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
                    adapter = self._adapters[request.adapter] if request.adapter else None
                    engine.add_request(key, prompt, each, lora_request=adapter)
                while engine.has_unfinished_requests():
                    outputs = engine.step()
                    now = perf_counter() - started
                    for output in outputs:
                        yield places[output.request_id], output, now
        finally:
            if engine.has_unfinished_requests():
                engine.abort_request(list(places))

    def _load(self, name: str, folder: Path) -> None:
        from vllm.lora.request import LoRARequest

        self._loads += 1
        adapter = LoRARequest(name, self._loads, str(folder.resolve()))
        with one_line_errors(f"adapter {name} ({folder})"):
            self._llm.llm_engine.add_lora(adapter)
        self._adapters[name] = adapter

    def _unload(self, name: str) -> None:
        self._llm.llm_engine.remove_lora(self._adapters.pop(name).lora_int_id)
        self._held -= 1


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
