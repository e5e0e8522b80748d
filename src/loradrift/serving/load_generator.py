"""vLLM's own load generator, the one behind ``vllm bench serve``, with a client of ours.

Its results know no adapters and no tokens. The client keeps, for each request, what was asked, what
answered, and every token with its time.
"""

import asyncio
import gc
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loradrift.generation.completions import Answer, complete
from loradrift.generation.vllm_library import quiet

if TYPE_CHECKING:
    from aiohttp import ClientSession

ENDPOINT = "loradrift"
"""What the generator calls our client."""


class Generated(NamedTuple):
    """The answers of a load, in the order of the requests."""

    answers: list[Answer]
    began: float
    """``perf_counter()`` at the start."""

    duration: float
    """Seconds from the start to the last answer, as the generator has them."""


def generate_load(
    url: str,
    headers: Mapping[str, str],
    bodies: Sequence[Mapping[str, Any]],
    *,
    concurrency: int | None,
    rate: float,
    seed: int,
) -> Generated:
    """Send requests to a server's ``/v1/completions``.

    Args:
        url: The server's.
        headers: What each request brings along.
        bodies: What each request asks.
        concurrency: The most requests in flight; None is all.
        rate: Requests per second, at exponential times; infinity sends them as they can go.
        seed: Draws these times.
    """
    with quiet():
        import vllm.benchmarks.serve  # noqa: F401  takes long the first time, and prints
    with _seeded(seed), _undisturbed():
        return asyncio.run(_generate(url, headers, bodies, concurrency, rate))


async def _generate(
    url: str,
    headers: Mapping[str, str],
    bodies: Sequence[Mapping[str, Any]],
    concurrency: int | None,
    rate: float,
) -> Generated:
    from aiohttp import ClientSession, TCPConnector
    from vllm.benchmarks import serve
    from vllm.benchmarks.datasets import SampleRequest

    answers: dict[int, tuple[Answer, float]] = {}
    requests = [
        SampleRequest(
            prompt=list(body["prompt"]),
            prompt_len=len(body["prompt"]),
            expected_output_len=body["max_tokens"],
            request_id=str(i),
            request_overrides=dict(body),
        )
        for i, body in enumerate(bodies)
    ]
    async with ClientSession(headers=headers, connector=TCPConnector(limit=0)) as session:
        api_url = f"{url}/v1/completions"
        serve.ASYNC_REQUEST_FUNCS[ENDPOINT] = _client(session, api_url, answers)
        try:
            result: dict[str, Any] = await serve.benchmark(
                task_type=serve.TaskType.GENERATION,
                endpoint_type=ENDPOINT,
                api_url=api_url,
                base_url=url,
                model_id="",  # each request names its own
                model_name="",
                tokenizer=None,
                input_requests=requests,
                logprobs=None,
                request_rate=rate,
                burstiness=1.0,  # exponential times
                disable_tqdm=True,
                num_warmups=0,
                profile=False,
                selected_percentile_metrics=[],
                selected_percentiles=[],
                ignore_eos=False,  # each request says it
                goodput_config_dict={},
                max_concurrency=concurrency,
                lora_modules=None,
                extra_headers=None,
                extra_body=None,
                ready_check_timeout_sec=0,
            )
        finally:
            del serve.ASYNC_REQUEST_FUNCS[ENDPOINT]
    duration = float(result["duration"])
    ended = max(when for _, when in answers.values())
    return Generated([answers[i][0] for i in range(len(bodies))], ended - duration, duration)


def _client(
    own: "ClientSession", url: str, answers: dict[int, tuple[Answer, float]]
) -> Callable[..., Any]:
    """What the generator calls for each request, in a form that it knows; notes the answers.

    Its own session would go through a proxy, and without the server's headers.
    """
    from vllm.benchmarks.lib.endpoint_request_func import RequestFuncInput, RequestFuncOutput

    async def ask(
        request_func_input: RequestFuncInput, session: object, pbar: object = None
    ) -> RequestFuncOutput:
        asked = request_func_input
        answer = await complete(own, url, asked.extra_body or {})
        answers[int(asked.request_id or 0)] = answer, perf_counter()
        return RequestFuncOutput(
            success=not answer.error,
            latency=answer.latency_s,
            output_tokens=len(answer.token_ids),
            ttft=answer.token_times_s[0] if answer.token_times_s else math.nan,
            prompt_len=asked.prompt_len,
            error=answer.error,
            start_time=answer.submitted,
        )

    return ask


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The generator draws from numpy's global state: seed it, and put it back."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector from the objects that are there, and the terminal clean."""
    gc.collect()
    gc.freeze()
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        gc.unfreeze()
