"""What takes minutes of real vLLM, all in one process: ``vllm_session.py PLAN ANSWERS``."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from loradrift.generation import EngineSettings, Request, Sampling, open_engine

REQUESTS = [Request("0", tuple(range(5, 25))), Request("1", tuple(range(50, 90)))]
CACHE = 64 * 2**20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    answers, sizes = {}, []
    for head_size, folder in plan.items():
        settings = EngineSettings(Path(folder), threads=1, max_length=256, kv_cache_bytes=CACHE)
        with open_engine("vllm", settings) as engine:
            completions = engine.generate(REQUESTS, Sampling(max_tokens=24))
        answers[head_size] = [list(each.token_ids) for each in completions]
    for _ in range(6):
        with open_engine("vllm", replace(settings, lora=True)) as engine:
            engine.generate(REQUESTS, Sampling(max_tokens=2))
        sizes.append(resident())
    Path(sys.argv[2]).write_text(json.dumps({"answers": answers, "resident": sizes}))


if __name__ == "__main__":
    main()
