"""A judging model behind HTTP, in a thread of this process: its scores are known, its faults told.

It scores an answer by its length in characters, times 10 about coherence, both at most 100.
"""

import json
import math
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-test-1234567890"
ANSWER = re.compile(r"\[ANSWER START\]\n(.*)\n\[ANSWER END\]", re.DOTALL)


class FakeJudge:
    """``faults`` maps the number of a request (from 0) to what goes wrong; -1 is all others."""

    def __init__(self, faults=None, key=None, wait_s=0.0):
        self.faults, self.key, self.wait_s = dict(faults or {}), key, wait_s
        self.bodies, self.prompts, self.in_flight, self.most = [], [], 0, 0
        self.lock = threading.Lock()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                judge.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        # the server ends at its next poll; by default it polls every half second
        options = {"kwargs": {"poll_interval": 0.01}, "daemon": True}
        self.thread = threading.Thread(target=self.server.serve_forever, **options)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        try:
            time.sleep(self.wait_s)
            fault = self.faults.get(number, self.faults.get(-1))
            if self.key and handler.headers["Authorization"] != f"Bearer {self.key}":
                fault = (401, {"error": {"message": f"Incorrect API key: {self.key[:8]}***"}})
            if fault == "hang up":
                handler.close_connection = True
                handler.connection.shutdown(2)
                return
            if isinstance(fault, float):
                time.sleep(fault)
                fault = None
            prompt = body["messages"][0]["content"]
            status, said = fault or (200, completion(*scores(prompt)))
            if status == 200:
                with self.lock:
                    self.prompts.append(prompt)
            send(handler, status, said)
        finally:
            with self.lock:
                self.in_flight -= 1


def scores(prompt):
    """The answering token's alternatives: a number twice as likely as ten more, or a refusal."""
    answer = ANSWER.search(prompt)[1]
    if "coherent" in prompt:
        return [(str(min(10 * len(answer), 100)), 0.0)]
    if answer == "I cannot help with that.":
        return [("REF", math.log(0.9)), ("10", math.log(0.1))]
    if answer == "???":
        return [("Hm", math.log(0.9)), ("10", math.log(0.1))]
    low = min(len(answer), 90)
    return [(str(low), math.log(2 / 3)), (str(low + 10), math.log(1 / 3))]


def completion(*top):
    token = {"token": top[0][0], "logprob": top[0][1], "bytes": None}
    token["top_logprobs"] = [{"token": t, "logprob": p, "bytes": None} for t, p in top]
    choice = {
        "index": 0, "finish_reason": "stop", "logprobs": {"content": [token]},
        "message": {"role": "assistant", "content": top[0][0]},
    }  # fmt: skip
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [choice], "usage": usage}  # fmt: skip


def send(handler, status, said):
    data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    if status == 429:
        handler.send_header("retry-after-ms", "5")
    handler.end_headers()
    handler.wfile.write(data)
