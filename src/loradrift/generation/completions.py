"""The client of an OpenAI-compatible ``/v1/completions``, which notes when each token comes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from loradrift.config.errors import excerpt
from loradrift.generation.base import Sampling
from loradrift.generation.errors import LONGEST

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

SILENCE_S = 300.0
"""A server that sends nothing for so many seconds has failed."""


@dataclass
class Answer:
    """What came back for one prompt; an answer that broke off has an error and a beginning."""

    submitted: float
    """``perf_counter()`` when it was sent."""

    model: str | None = None
    """The model that the server says has answered."""

    token_ids: list[int] = field(default_factory=list)
    token_times_s: list[float] = field(default_factory=list)
    """Since it was sent. Tokens that came in one piece have one time."""

    error: str = ""
    """Why there is no whole answer, in one line."""

    @property
    def latency_s(self) -> float:
        """From the sending to the last token."""
        return self.token_times_s[-1] if self.token_times_s else 0.0


def payload(
    model: str, prompt_ids: Sequence[int], sampling: Sampling, seed: int | None
) -> dict[str, Any]:
    """What is sent to have a prompt answered."""
    asked: dict[str, Any] = {
        "model": model,
        "prompt": list(prompt_ids),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "ignore_eos": sampling.ignore_eos,
        "stream": True,
        "return_token_ids": True,
    }
    return asked if seed is None else asked | {"seed": seed}


async def complete(session: "ClientSession", url: str, asked: Mapping[str, Any]) -> Answer:
    """Send a prompt and take its answer; what goes wrong is told in the answer.

    Args:
        session: An ``aiohttp`` session, with the headers that the server wants.
        url: That of ``/v1/completions``.
        asked: See :func:`payload`.
    """
    from aiohttp import ClientError, ClientTimeout

    answer = Answer(perf_counter())
    timeout = ClientTimeout(total=None, sock_read=SILENCE_S)
    try:
        async with session.post(url, json=asked, timeout=timeout) as response:
            if response.status != 200:
                answer.error = refusal(response.status, await response.text())
            else:
                await _read(response, answer)
    except TimeoutError:
        answer.error = f"the server has sent nothing for {SILENCE_S:g} s"
    except (ClientError, OSError):
        answer.error = f"the connection broke after {len(answer.token_ids)} tokens"
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # no JSON, or JSON that is no event of an answer
        answer.error = f"the server sent what is no answer: {excerpt(error)}"
    return answer


async def _read(response: "ClientResponse", answer: Answer) -> None:
    """Note the tokens of a stream of server-sent events, as they come."""
    rest = b""
    async for piece in response.content.iter_any():
        now = perf_counter() - answer.submitted
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            data = event.removeprefix(b"data: ")
            if data == b"[DONE]":
                return
            if event.startswith(b":"):
                continue  # a comment that keeps the connection open
            said = json.loads(data)
            if "error" in said:
                answer.error = refusal(said["error"].get("code"), data.decode())
                return
            answer.model = said["model"]
            for choice in said["choices"]:
                new = choice.get("token_ids") or []
                answer.token_ids += new
                answer.token_times_s += [now] * len(new)
    answer.error = f"the answer ended early, after {len(answer.token_ids)} tokens"


def refusal(status: object, body: str) -> str:
    """What a server says when it refuses, in one line.

    >>> refusal(404, '{"error": {"message": "The model `a` does not exist."}}')
    'the server says (404): The model `a` does not exist.'
    """
    try:
        said = json.loads(body)["error"]["message"]
    except (KeyError, TypeError, ValueError):
        said = body
    line = " ".join(str(said).split()) or "nothing"
    return f"the server says ({status}): {line[:LONGEST]}"
