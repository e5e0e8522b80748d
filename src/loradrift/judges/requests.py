"""Requests to an OpenAI-compatible endpoint: sent again where that helps, or one line."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from loradrift.config import UserError
from loradrift.config.errors import excerpt
from loradrift.judges.config import OPENAI_URL, EndpointConfig
from loradrift.judges.replies import Reply, parse_reply

if TYPE_CHECKING:
    import openai

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
TOO_MANY, TIMED_OUT, CONFLICT = 429, 408, 409
FILTERED = "content_filter"
"""Some services do not let their model see some answers: the reply is then empty."""

LONGEST_QUOTE = 200
"""Most characters of a server's message in an error."""

NO_KEY = "none"
"""What the client sends as a key to a server that wants none; it does not work without any."""

T = TypeVar("T")


class StoppedError(Exception):
    """Another thread has failed, or the user has asked to stop."""


class Requests:
    """Asks one model for replies; made by :func:`opened_requests`, used by several threads.

    Args:
        config: Which model, and how patient.
        client: The connection.
        key: What must not be quoted.
    """

    def __init__(self, config: EndpointConfig, client: "openai.OpenAI", key: str | None) -> None:
        self.config = config
        self.stop = threading.Event()
        self._client, self._key = client, key
        self.answered = False
        self._not_before = 0.0

    def ask(self, prompt: str, parameters: dict[str, Any]) -> Reply:
        """The model's reply to a prompt.

        Raises:
            UserError: If there is none after all tries.
            StoppedError: If :attr:`stop` is set meanwhile.
        """
        import openai

        messages = [{"role": "user", "content": prompt}]

        def send() -> Reply:
            try:
                raw = self._client.chat.completions.with_raw_response.create(
                    model=self.config.model, messages=messages, **parameters
                )
            except openai.BadRequestError as error:
                if error.code == FILTERED:
                    return Reply("", (), "", (0, 0))
                raise
            try:
                body = raw.http_response.json()
            except ValueError:
                raise ValueError("no JSON") from None
            return parse_reply(body)

        reply = self._patiently(send)
        self.answered = True
        return reply

    def _patiently(self, send: Callable[[], T]) -> T:
        """Send until there is a reply, with waits that double; all threads wait together."""
        import openai

        for tried in range(self.config.retries + 1):
            self._wait()
            try:
                return send()
            except (openai.APIError, ValueError) as error:
                unreachable = isinstance(error, openai.APIConnectionError) and not isinstance(
                    error, openai.APITimeoutError
                )
                # an address at which nobody has answered yet may well be wrong
                hopeless = unreachable and not self.answered and tried > 0
                if not _may_pass(error) or hopeless or tried == self.config.retries:
                    raise UserError(self._line(error, tried + 1)) from None
                self._put_off(_asked_wait(error) or FIRST_WAIT_S * 2**tried)
        raise AssertionError("the last try raises")

    def _put_off(self, seconds: float) -> None:
        until = time.monotonic() + min(seconds, LONGEST_WAIT_S)
        self._not_before = max(self._not_before, until)

    def _wait(self) -> None:
        left = self._not_before - time.monotonic()
        if self.stop.wait(max(left, 0.0)):
            raise StoppedError

    def _line(self, error: Exception, tries: int) -> str:
        """What went wrong, in one line that never holds the key."""
        import openai

        config = self.config
        where = f"judge.base_url={config.base_url}"
        after = f" after {tries} tries" if tries > 1 else ""
        if isinstance(error, openai.APITimeoutError):
            return f"{where} gave no reply within judge.timeout_s={config.timeout_s:g}{after}"
        if isinstance(error, openai.APIConnectionError):
            why = self._quoted(error.__cause__ or error)
            return f"{where} cannot be reached{after}: {why}"
        if not isinstance(error, openai.APIStatusError):
            return f"{where} gave a reply that is {self._quoted(error)}{after}"
        code = error.status_code
        if code in (401, 403):  # the message may hold a part of the key
            if self._key is None:
                return f"{where} wants a key ({code}): judge.key_variable=<name> names the "\
                       "environment variable that holds it"  # fmt: skip
            return f"{where} refuses the key in {key_variable(config)} ({code})"
        absent = f"has no judge.model={config.model}, or no API at this path,"
        what = {TOO_MANY: "limits the rate", 404: absent}
        says = what.get(code, "failed" if code >= 500 else "refuses the request")
        return f"{where} {says} ({code}){after}: {self._quoted(error)}"

    def _quoted(self, error: object) -> str:
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        text = " ".join(str(message or error).split())
        if self._key:
            text = text.replace(self._key, "…")
        return excerpt(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE])


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in (TIMED_OUT, CONFLICT, TOO_MANY) or error.status_code >= 500
    return True  # no connection, no reply in time, or garbage


def _asked_wait(error: Exception) -> float | None:
    """Seconds that the server asks to wait."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(float(headers[name]) * unit, 0.0)
        except (KeyError, ValueError):  # it may be a date
            continue
    return None


def key_variable(config: EndpointConfig) -> str | None:
    """The environment variable that holds the key; None where none is sent."""
    if config.key_variable is None:
        return "OPENAI_API_KEY" if config.base_url.rstrip("/") == OPENAI_URL else None
    return config.key_variable or None


def read_key(config: EndpointConfig) -> str | None:
    """The key, from the environment alone; None where the endpoint wants none.

    Raises:
        UserError: If the variable is not set; names it.
    """
    name = key_variable(config)
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(
            f"judge.base_url={config.base_url} needs a key in the environment variable {name}, "
            "which is not set; judge.key_variable names another one"
        )
    return key


@contextmanager
def opened_requests(config: EndpointConfig) -> Iterator[Requests]:
    """A connection to the endpoint; nothing is sent yet.

    Raises:
        UserError: If the client is not installed, or the key is not set.
    """
    try:
        import openai
    except ImportError:
        raise UserError("judge=endpoint needs openai: pip install '.[judge]'") from None
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each request
    key = read_key(config)
    own = urlsplit(config.base_url).hostname in ("localhost", "127.0.0.1", "::1")
    client = openai.OpenAI(
        api_key=key or NO_KEY,
        base_url=config.base_url,
        timeout=config.timeout_s,
        max_retries=0,
        # a proxy of the environment does not lead to this machine
        http_client=openai.DefaultHttpxClient(trust_env=not own),
    )
    with client:
        yield Requests(config, client, key)
