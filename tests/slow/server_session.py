"""What the tests of vLLM's real server ask of it: ``server_session.py PLAN ANSWERS LOG``.

At its end it has a server up, writes ANSWERS and waits to be killed.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from loradrift.config import UserError
from loradrift.generation import EngineSettings, Request, Sampling
from loradrift.generation.vllm_server import VllmServer, open_server
from loradrift.serving.load import Call, Load, closed_loop, open_loop

SIXTEEN = Sampling(max_tokens=16)
LONG = Sampling(max_tokens=40)


def session(leader: int) -> list[int]:
    """The processes of the session that a process began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) == leader:
            found.append(int(entry.parent.name))
    return found


def refused(call: Callable[..., Any], *args: Any) -> str:
    try:
        call(*args)
    except (UserError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def rows(load: Load) -> dict[str, Any]:
    return {
        "samples": [sample._asdict() for sample in load.samples],
        "error": str(load.error),
    }


def loads(server: VllmServer, requests: list[Request]) -> dict[str, Any]:
    call = Call("multi", 0, range(len(requests)), requests, SIXTEEN)
    np.random.seed(5)
    before = np.random.random(3).tolist()
    np.random.seed(5)
    found = {"closed": rows(closed_loop(server, call, 2)), "open": rows(open_loop(server, call, 8))}
    found["again"] = rows(open_loop(server, call._replace(arm="other"), 8))
    return found | {"numpy": [before, np.random.random(3).tolist()]}


def killed(server: VllmServer, requests: list[Request], after_s: float) -> dict[str, Any]:
    """The server dies while some requests are answered and others wait."""
    many = [Request(str(i), requests[0].prompt_ids, "plain") for i in range(400)]
    call = Call("multi", 0, [0] * len(many), many, LONG)
    threading.Timer(after_s, os.kill, (server.pid, signal.SIGKILL)).start()
    found = rows(closed_loop(server, call, 2))
    found["afterwards"] = refused(server.generate, requests[:1], SIXTEEN)
    deadline = time.monotonic() + 30
    while (left := session(server.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found | {"left": left}


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    adapters = {name: Path(folder) for name, folder in plan["adapters"].items()}
    settings = EngineSettings(
        Path(plan["model"]),
        adapters,
        threads=1,
        max_loras=4,
        max_length=64,
        kv_cache_bytes=4 * 2**20,
    )
    rows = enumerate(plan["requests"])
    requests = [Request(str(i), tuple(ids), name) for i, (ids, name) in rows]
    found: dict[str, Any] = {}
    with open_server(settings, log=Path(sys.argv[3])) as server:
        completions = server.generate(requests, SIXTEEN)
        found["answers"] = [list(each.token_ids) for each in completions]
        found["served"] = [each.served for each in completions]
        found["processes"] = len(session(server.pid))
        found["log_likelihoods"] = server.log_likelihoods(requests)
        server.unload_adapter("plain")
        found["unloaded"] = refused(server.generate, requests, SIXTEEN)
        found["load_s"] = server.load_adapter("plain", adapters["plain"])
        found["reloaded"] = [list(e.token_ids) for e in server.generate(requests, SIXTEEN)]
        found["loads"] = loads(server, requests)
        server.unload_adapter("plain")
        server.load_adapter("plain", adapters["plain"])  # every place has been used now
        found["beside_base"] = refused(server.generate, requests, SIXTEEN)
        adapted = [request for request in requests if request.adapter]
        found["adapted"] = [list(e.token_ids) for e in server.generate(adapted, SIXTEEN)]
        closed = found["loads"]["closed"]["samples"][0]
        # 100 times the requests of the closed loop, each of more tokens
        found["killed"] = killed(server, requests, 10 * closed["call_s"] + 2)
    with open_server(EngineSettings(Path(plan["model"]), threads=1, max_length=64)) as server:
        base = [Request(str(i), tuple(ids)) for i, (ids, _) in enumerate(plan["requests"])]
        found["base"] = [list(each.token_ids) for each in server.generate(base, SIXTEEN)]
        found["pid"] = server.pid
        Path(sys.argv[2]).write_text(json.dumps(found))
        time.sleep(600)


if __name__ == "__main__":
    main()
