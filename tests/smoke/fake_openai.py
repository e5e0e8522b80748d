"""A stand-in for vLLM's server: its answers are known, and ``FAKE`` (JSON) says what goes wrong.

``python -m fake_openai --port … --served-model-name … [--lora-modules JSON…]``; other flags are as
they are. What it was started with is the first line of its log.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = json.loads(os.environ.get("FAKE", "{}"))
KEY = os.environ.get("VLLM_API_KEY")


def true_tokens(model: str, prompt: list[int], count: int) -> list[int]:
    return [(sum(prompt) + 7 * len(model) + i) % 97 for i in range(count)]


def after(flag: str) -> list[str]:
    """The words between a flag and the next one."""
    words = sys.argv[sys.argv.index(flag) + 1 :] if flag in sys.argv else []
    ends = [i for i, word in enumerate(words) if word.startswith("--")]
    return words[: ends[0]] if ends else words


MODELS = [*after("--served-model-name")]
MODELS += [json.loads(each)["name"] for each in after("--lora-modules")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.refuse(401, "Unauthorized")
        elif self.path == "/v1/load_lora_adapter":
            MODELS.append(body["lora_name"])
            self.text("Success: LoRA adapter added successfully.")
        elif self.path == "/v1/unload_lora_adapter":
            MODELS.remove(body["lora_name"])
            self.text("Success: LoRA adapter removed successfully.")
        elif body["model"] not in MODELS or FAULTS.get("forgets") == body["model"]:
            self.refuse(404, f"The model `{body['model']}` does not exist.")
        elif body["stream"]:
            self.stream(body)
        else:
            rows = [None, *({str(t): {"logprob": -0.5 * t}} for t in body["prompt"][1:])]
            self.answer(200, {"choices": [{"prompt_logprobs": rows}]})

    def stream(self, body: dict) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        model = FAULTS.get("says", body["model"])
        self.chunk(": a comment\n\n")
        for i, token in enumerate(true_tokens(body["model"], body["prompt"], body["max_tokens"])):
            if FAULTS.get("breaks_after") == i:
                self.wfile.flush()
                return self.connection.shutdown(2)
            if FAULTS.get("dies_after") == i:
                print("CUDA error: the card fell out", flush=True)
                os._exit(3)
            if FAULTS.get("errs_after") == i:
                error = {"message": "EngineCore encountered an issue.", "code": 500}
                self.chunk(f"data: {json.dumps({'error': error})}\n\n")
                break
            if FAULTS.get("stops_after") == i:
                break
            time.sleep(FAULTS.get("token_s", 0.0))
            said = {"model": model, "choices": [{"text": "x", "token_ids": [token]}]}
            event = f"data: {json.dumps(said)}\n\n"
            middle = len(event) // 2  # an event may come in two pieces
            self.chunk(event[:middle])
            self.chunk(event[middle:])
        if not FAULTS.get("no_end"):
            self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"message": message, "code": status}})

    def answer(self, status: int, said: dict) -> None:
        self.text(json.dumps(said), status)

    def text(self, said: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())


def main() -> None:
    kept = ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS")
    started = {"argv": sys.argv[1:], "env": {key: os.environ.get(key) for key in kept}}
    print(json.dumps(started), flush=True)
    time.sleep(FAULTS.get("start_s", 0.0))
    if "dies" in FAULTS:
        print(FAULTS["dies"], flush=True)
        sys.exit(1)
    ThreadingHTTPServer(("127.0.0.1", int(after("--port")[0])), Handler).serve_forever()


if __name__ == "__main__":
    main()
