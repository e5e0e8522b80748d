"""vLLM in this process, stepped by hand so that each token's time is known."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from loradrift.config import UserError
from loradrift.generation import vllm_library, vllm_rules
from loradrift.generation.base import Completion, EngineSettings, Request, Sampling
from loradrift.generation.errors import one_line_errors
from loradrift.generation.requests import check_requests, request_seed
from loradrift.weights import StoredWeights


@contextmanager
def open_vllm(settings: EngineSettings) -> Iterator["VllmEngine"]:
    """Start vLLM in this process; several may be open at a time.

    Raises:
        UserError: If it is not installed, or cannot serve the model or an adapter; says why.
        MemoryError: If there is too little memory.
    """
    vllm_rules.check_installed()
    vllm_rules.check_model(settings)
    rank = vllm_rules.largest_rank(settings.adapters.values(), settings.model)
    options = vllm_rules.engine_options(settings, rank)
    vllm_library.import_vllm(vllm_rules.environment(settings))
    started = perf_counter()
    with one_line_errors(f"vLLM cannot serve {settings.model}"):
        llm = vllm_library.start(options, settings.threads)
    engine = VllmEngine(settings, llm, options.get("max_lora_rank", 0))
    try:
        for name, folder in settings.adapters.items():
            engine.add(name, folder)
        engine.start_s = perf_counter() - started
        yield engine
    finally:
        engine.close()


class VllmEngine:
    """A model in vLLM, with adapters side by side; made by :func:`open_vllm`.

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

        self._llm = llm
        self._max_rank = max_rank
        self._adapters: dict[str, Any] = {}
        self._stamps: dict[str, object] = {}
        self._loads = 0
        self._calls = 0
        self._every_slot_used = False

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """Answer requests, all of them handed over at once.

        Raises:
            UserError: If an adapter is unknown or has vanished, a prompt is too long, or a request
                asks for an intervention.
            MemoryError: If the engine runs out of memory.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._check(requests, sampling.max_tokens)
        params = [
            SamplingParams(
                temperature=sampling.temperature,
                seed=request_seed(sampling.seed, request) if sampling.temperature else None,
                max_tokens=sampling.max_tokens,
                ignore_eos=sampling.ignore_eos,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
            for request in requests
        ]
        tokens: list[list[int]] = [[] for _ in requests]
        times: list[list[float]] = [[] for _ in requests]
        for index, output, now in self._run(requests, params):
            new = output.outputs[0].token_ids
            tokens[index] += new
            times[index] += [now] * len(new)
        return [
            Completion(request.id, tuple(ids), tuple(when), request.adapter)
            for request, ids, when in zip(requests, tokens, times, strict=True)
        ]

    def log_likelihoods(self, requests: Sequence[Request]) -> list[float]:
        """Log-likelihood (nats) of each prompt's tokens but the first, given those before it.

        Raises:
            UserError: As :meth:`generate`.
        """
        from vllm import SamplingParams

        self._check(requests, 1)
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        sums = [0.0] * len(requests)
        # with LoRA, the CPU kernels take a prompt's logits one request at a time
        together = 1 if self._max_rank and self.settings.accelerator == "cpu" else len(requests)
        for first in range(0, len(requests), together):
            some = requests[first : first + together]
            for index, output, _ in self._run(some, [params] * len(some)):
                rows = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
                sums[first + index] = sum(row[token].logprob for token, row in rows)
        return sums

    def load_adapter(self, name: str, folder: Path) -> float:
        """Make another adapter known; gives the seconds that vLLM took to load it.

        Raises:
            UserError: If the name is taken, or vLLM cannot serve the adapter.
        """
        if not self._max_rank:
            raise UserError(f"adapter {name}: the engine was started without LoRA (lora=true)")
        if name in self._adapters:
            raise UserError(f"the engine has an adapter {name} already; unload it first")
        rank = vllm_rules.check_adapter(folder, StoredWeights(self.settings.model))
        if rank > self._max_rank:
            raise UserError(
                f"adapter {name}: its rank must be at most {self._max_rank}, the engine's "
                f"max_lora_rank, got {rank}"
            )
        return self.add(name, folder)

    def add(self, name: str, folder: Path) -> float:
        """Load an adapter that has been checked; see :meth:`load_adapter`."""
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

    def _check(self, requests: Sequence[Request], max_tokens: int) -> None:
        """Refuse what would end the engine, or what it would answer wrongly."""
        check_requests(requests, self.settings, self._adapters, max_tokens=max_tokens)
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

    def _run(
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
