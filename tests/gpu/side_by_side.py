"""One engine with adapters side by side, in a process of its own: ``side_by_side.py PLAN ANSWERS``.

vLLM seeds, pins and prints, and what it takes of the GPU it gives back only when its process ends.
"""

import json
import sys
from pathlib import Path

import torch

from loradrift.generation import EngineSettings, Request, Sampling, open_engine


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    settings = EngineSettings(
        Path(plan["model"]),
        {name: Path(folder) for name, folder in plan["adapters"].items()},
        dtype=plan["dtype"],
        accelerator=plan["accelerator"],
        max_length=64,
        kv_cache_bytes=64 * 2**20,
    )
    requests = [Request(str(i), tuple(ids), name) for i, (ids, name) in enumerate(plan["asked"])]
    with open_engine(plan["engine"], settings) as engine:
        completions = engine.generate(requests, Sampling(max_tokens=plan["max_tokens"]))
    found = {
        "answers": [list(each.token_ids) for each in completions],
        "gpu_bytes": torch.cuda.max_memory_allocated(),
    }
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
