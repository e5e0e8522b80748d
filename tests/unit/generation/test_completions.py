"""A stream that is no answer is told in the answer, whatever it holds."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from loradrift.generation.completions import complete


class Session:
    """A server that sends one piece."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece

    @asynccontextmanager
    async def post(self, url, *, json, timeout):
        async def iter_any():
            yield self.piece

        yield SimpleNamespace(status=200, content=SimpleNamespace(iter_any=iter_any))


@pytest.mark.parametrize(
    "event",
    [b"{}", b"[1]", b"3", b'{"model": "a", "choices": 3}', b'{"error": "none"}', b"no json",
     b'{"model": "a", "choices": ["b"]}'],
)  # fmt: skip
def test_an_event_of_another_form(event):
    pytest.importorskip("aiohttp")
    session = Session(b"data: " + event + b"\n\n")
    answer = asyncio.run(complete(session, "http://somewhere", {}))
    assert answer.error.startswith("the server sent what is no answer: ")
    assert "\n" not in answer.error and answer.token_ids == []
