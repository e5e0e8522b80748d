"""vLLM in this process, stepped by hand so that each token's time is known."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from loradrift.generation.base import Completion, EngineSettings, Request, Sampling
from loradrift.generation.requests import request_seed
from loradrift.generation.vllm_adapters import preflight
from loradrift.generation.vllm_engine import VllmInProcess, started_vllm


@contextmanager
def open_vllm(settings: EngineSettings) -> Iterator["VllmEngine"]:
    """Start vLLM in this process; several may be open at a time.

    Raises:
        UserError: If it is not installed, or cannot serve the model or an adapter; says why.
        MemoryError: If there is too little memory.
    """
    with started_vllm(VllmEngine, settings, preflight(settings)) as engine:
        yield engine


class VllmEngine(VllmInProcess):
    """A language model in vLLM; made by :func:`open_vllm`."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """Answer requests, all of them handed over at once.

        Raises:
            UserError: If an adapter is unknown or has vanished, a prompt is too long, or a request
                asks for an intervention.
            MemoryError: If the engine runs out of memory.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self.check(requests, max_tokens=sampling.max_tokens)
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
        served: list[str | None] = [None for _ in requests]
        for index, output, now in self.run(requests, params):
            new = output.outputs[0].token_ids
            tokens[index] += new
            times[index] += [now] * len(new)
            used = output.lora_request  # what vLLM has answered with, not what was asked
            served[index] = None if used is None else str(used.lora_name)
        return [
            Completion(request.id, tuple(ids), tuple(when), name)
            for request, ids, when, name in zip(requests, tokens, times, served, strict=True)
        ]

    def log_likelihoods(self, requests: Sequence[Request]) -> list[float]:
        """Log-likelihood (nats) of each prompt's tokens but the first, given those before it.

        Raises:
            UserError: As :meth:`generate`.
        """
        from vllm import SamplingParams

        self.check(requests, max_tokens=1)
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        sums = [0.0] * len(requests)
        # with LoRA, the CPU kernels take a prompt's logits one request at a time
        together = 1 if self.max_rank and self.settings.accelerator == "cpu" else len(requests)
        for first in range(0, len(requests), together):
            some = requests[first : first + together]
            for index, output, _ in self.run(some, [params] * len(some)):
                rows = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
                sums[first + index] = sum(row[token].logprob for token, row in rows)
        return sums
