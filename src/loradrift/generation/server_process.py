"""vLLM's OpenAI-compatible server as a process: its command, its environment and its start."""

import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.generation.base import EngineSettings
from loradrift.generation.errors import EngineEnded
from loradrift.generation.ports import HOST, free_port, refuse_used
from loradrift.generation.server_log import ended, failure
from loradrift.generation.supervisor import GRACE_S, Supervised, supervised
from loradrift.generation.vllm_rules import environment

BASE = "base"
"""What the base model is called in requests."""

MODULE = "vllm.entrypoints.openai.api_server"

HEALTH_S = 10.0
"""Seconds within which a server says whether it is well."""

LOOK_EVERY_S = 0.1

USUAL = "a start takes 27 to 49 s for a small model on a CPU, and longer for a large one"
"""What a user needs to know to choose a limit."""


class ServerProcess:
    """A server that is up.

    Args:
        process: The process below its supervisor.
        port: The port on which it listens.
        key: What every request must bring along; it is in no file.
        log: File that keeps what it prints; None where nothing does.
    """

    def __init__(self, process: Supervised, port: int, key: str, log: Path | None) -> None:
        self.process = process
        self.log = log
        self.port = port
        self.headers = {"Authorization": f"Bearer {key}"}
        self.url = f"http://{HOST}:{port}"

    def send(self, method: str, path: str, body: object, timeout_s: float) -> tuple[int, str]:
        """Send JSON; gives the status and the text that comes back.

        Raises:
            OSError: If there is no answer.
            HTTPException: If it is none.
        """
        connection = HTTPConnection(HOST, self.port, timeout=timeout_s)  # and never a proxy
        headers = {**self.headers, "Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def healthy(self) -> bool:
        """Whether it answers and its engine works."""
        try:
            return self.send("GET", "/health", None, HEALTH_S)[0] == 200
        except (OSError, HTTPException):
            return False

    def failure(self, what: str) -> UserError | MemoryError:
        """An error that says what failed, and how the server's log ends if it has ended.

        It is an :class:`EngineEnded` then. A server whose engine has died ends a moment later.
        """
        deadline = time.monotonic() + 3 * GRACE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.healthy():
                return UserError(what)
            time.sleep(LOOK_EVERY_S)
        return failure(f"{what}; {ended(self.process)}", self.process, self.log, EngineEnded)


@contextmanager
def started_server(
    settings: EngineSettings,
    options: Mapping[str, Any],
    *,
    port: int | None,
    start_timeout_s: float,
    log: Path | None,
) -> Iterator[ServerProcess]:
    """Run a server; it is up when the block begins, and gone when it ends.

    Args:
        settings: The adapters that it loads at its start, and its environment.
        options: vLLM's engine arguments.
        port: Where it listens; None takes a port that is free.
        start_timeout_s: Seconds that it may take to come up.
        log: File for what it prints; None keeps it only until the end.

    Raises:
        UserError: If the port is in use, or the server does not come up; quotes its log.
        MemoryError: If there is too little memory.
    """
    number = free_port() if port is None else port
    refuse_used(number)
    key = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as folder:
        process = supervised(
            command(settings, options, number),
            env={**os.environ, **variables(settings, key)},
            log=log or Path(folder, "server.log"),
        )
        with process as running:
            server = ServerProcess(running, number, key, log)
            _wait_until_up(server, start_timeout_s)
            yield server


def command(settings: EngineSettings, options: Mapping[str, Any], port: int) -> list[str]:
    """The command that starts a server."""
    words = [sys.executable, "-m", MODULE, "--host", HOST, "--port", str(port)]
    words += ["--served-model-name", BASE, "--disable-uvicorn-access-log"]
    for key, value in options.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    if settings.adapters:
        # as JSON: a name may hold the "=" of name=path
        pairs = settings.adapters.items()
        modules = [{"name": name, "path": str(folder.resolve())} for name, folder in pairs]
        words += ["--lora-modules", *map(json.dumps, modules)]
    return words


def variables(settings: EngineSettings, key: str) -> dict[str, str]:
    """What the server's environment has besides this process's.

    Those that the offline engine sets in this process are set back.
    """
    own = {"VLLM_API_KEY": key, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_LOGGING_LEVEL": "INFO"}
    return environment(settings) | own | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "NO_COLOR": "1"}


def _wait_until_up(server: ServerProcess, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not server.healthy():
        if server.process.poll() is not None:
            what = f"the server did not come up: {ended(server.process)}"
            raise failure(what, server.process, server.log)
        if time.monotonic() > deadline:
            limit = f"{timeout_s:g} s, the limit that serving.server.start_timeout_s sets"
            what = f"the server did not come up within {limit} ({USUAL})"
            raise failure(what, server.process, server.log)
        time.sleep(LOOK_EVERY_S)
