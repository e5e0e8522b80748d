"""A server under load: closed loop (requests in flight) and open loop (requests per second)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from loradrift.config import UserError
from loradrift.generation.base import Request, Sampling
from loradrift.generation.completions import Answer
from loradrift.generation.vllm_server import VllmServer
from loradrift.serving.load_generator import Generated, generate_load
from loradrift.serving.samples import Sample
from loradrift.serving.workload import generator

ARRIVALS = 3
"""What is drawn, besides what :mod:`loradrift.serving.workload` draws of a round."""

KEEPS_UP = 0.9
"""A server that answers less than this share of the requests per second that arrive is saturated:
it has no time for the others, and they wait."""

LATENCIES = 20
"""A load at a rate lasts so many latencies of a lone request: what is answered after the last was
sent is then a small part of it, and a batch does not take all of the load at once."""

MOST_DOUBLINGS = 12
WARM_TOKENS = 2


class Call(NamedTuple):
    """What is asked of a server, and what the rows say of it."""

    arm: str
    round: int
    prompts: Sequence[int]
    """Each request's prompt, by its number."""

    requests: Sequence[Request]
    sampling: Sampling
    merged: str | None = None
    """The adapter that is merged into the served model: the rows say that it was asked."""


class Load(NamedTuple):
    """What a load has measured."""

    samples: list[Sample]
    """Of the requests that were answered whole; unchecked."""

    error: UserError | MemoryError | None
    """How many requests failed, and why the first did, in one line; None where none did."""


def closed_loop(server: VllmServer, call: Call, concurrency: int) -> Load:
    """Send requests, ``concurrency`` at a time: the next when one is answered.

    Args:
        server: It is up; every adapter that is asked for answers once before.
        call: The requests, in the order in which they are sent.
        concurrency: Requests in flight.

    Raises:
        UserError: If the server cannot answer the requests, or has ended before.
    """
    made = _generate(server, call, concurrency, math.inf)
    return _load(server, call, made, "closed_loop", concurrency)


def open_loop(server: VllmServer, call: Call, rate: float) -> Load:
    """Send requests at random times, ``rate`` a second, whether others are answered or not.

    The times between two are exponential, scaled so that the last is sent ``len(requests) / rate``
    seconds after the start; they depend on the sampling's seed and the round alone, so that all
    arms see the same arrivals. See :func:`closed_loop`.
    """
    return _load(server, call, _generate(server, call, None, rate), "open_loop", rate)


def sweep(measure: Callable[[float, int], Load], alone_s: float, requests: int) -> list[Load]:
    """Open loops at rates that double until one saturates the server, which is the last.

    Args:
        measure: Takes a rate and a number of requests; gives the load.
        alone_s: Latency of a request that is alone. The first rate is half of what one request
            after the other reaches.
        requests: The least number of requests of a load.

    Returns:
        The loads. Where a request of the last one failed, that is not known to be saturation: the
        server may have ended.
    """
    loads: list[Load] = []
    for doublings in range(MOST_DOUBLINGS):
        rate = 0.5 / alone_s * 2**doublings
        count = max(requests, math.ceil(rate * LATENCIES * alone_s))
        loads.append(measure(rate, count))
        if loads[-1].error is not None or saturated(loads[-1].samples):
            break
    return loads


def saturated(samples: Sequence[Sample]) -> bool:
    """Whether a server did not keep up with the requests of an open loop.

    The least-squares line through the times of completion against those of arrival has the slope 1
    where every request takes as long, however long that is, and a larger one where each waits
    longer than the one before. What is answered after the last arrival does not matter so.
    """
    arrived_s = np.array([sample.submitted_s for sample in samples])
    done_s = arrived_s + np.array([sample.latency_s for sample in samples])
    spread_s = arrived_s - arrived_s.mean()
    return float(KEEPS_UP * (spread_s @ done_s)) > float(spread_s @ spread_s)


def _generate(server: VllmServer, call: Call, concurrency: int | None, rate: float) -> Generated:
    """Send the requests, after each model that is asked for has answered once."""
    server.check(call.requests, max_tokens=call.sampling.max_tokens)
    first: dict[str | None, Request] = {}
    for request in call.requests:
        first.setdefault(request.adapter, request)
    server.generate(list(first.values()), Sampling(WARM_TOKENS))
    bodies = [server.asked(request, call.sampling) for request in call.requests]
    draw = generator(call.sampling.seed, call.round, ARRIVALS)
    seed = int(draw.integers(2**32))
    return generate_load(
        server.url, server.headers, bodies, concurrency=concurrency, rate=rate, seed=seed
    )


def _load(server: VllmServer, call: Call, made: Generated, phase: str, load: float) -> Load:
    """The answers as rows, and what failed."""
    samples: list[Sample] = []
    failures: list[str] = []
    asked_and_answered = zip(call.prompts, call.requests, made.answers, strict=True)
    for i, (prompt, request, answer) in enumerate(asked_and_answered):
        asked = request.adapter if call.merged is None else call.merged
        if error := _fault(answer, call.sampling):
            failures.append(f"request {i} to {asked or 'the base model'}: {error}")
            continue
        sample = Sample(
            phase=phase,
            arm=call.arm,
            load=float(load),
            round=call.round,
            request=i,
            prompt=prompt,
            asked=asked,
            served=server.adapter_of(answer.model) or call.merged,
            submitted_s=answer.submitted - made.began,
            ttft_s=answer.token_times_s[0],
            latency_s=answer.latency_s,
            tokens=len(answer.token_ids),
            token_times_s=answer.token_times_s,
            token_ids=answer.token_ids,
            call_s=made.duration,
        )
        samples.append(sample)
    if not failures:
        return Load(samples, None)
    count = f"{len(failures)} of {len(call.requests)} requests failed"
    return Load(samples, server.process.failure(f"{count}, the first of them {failures[0]}"))


def _fault(answer: Answer, sampling: Sampling) -> str:
    """Why an answer is not whole; "" if it is."""
    count, wanted = len(answer.token_ids), sampling.max_tokens
    if not answer.error and count != wanted and (sampling.ignore_eos or not count):
        return f"the answer has {count} tokens instead of {wanted}"
    return answer.error
