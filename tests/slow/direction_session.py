"""Real vLLM with directions written at several doses: ``direction_session.py PLAN ANSWERS``."""

import json
import sys
from pathlib import Path

from loradrift.generation import EngineSettings, Request, Sampling, open_engine


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    adapters = {name: Path(folder) for name, folder in plan["adapters"].items()}
    settings = EngineSettings(
        Path(plan["model"]), adapters, threads=1, max_length=256, kv_cache_bytes=64 * 2**20
    )
    requests = [
        Request(f"{name}/{i}", tuple(ids), name or None)
        for name in ["", *adapters]
        for i, ids in enumerate(plan["prompts"])
    ]
    with open_engine("vllm", settings) as engine:
        found = engine.generate(requests, Sampling(max_tokens=24))
    Path(sys.argv[2]).write_text(json.dumps({each.id: list(each.token_ids) for each in found}))


if __name__ == "__main__":
    main()
