"""Cells of a simulated serving benchmark, written as the real one writes them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from untimed_rows import save, told_apart, write_untimed

from loradrift.analysis.serving.answers import count_answers
from loradrift.analysis.serving.latencies import call_table
from loradrift.analysis.serving.overheads import overhead_table
from loradrift.analysis.serving.verdict import h3
from loradrift.files import write_json
from loradrift.runs.record import RunRecord, Status

ADAPTERS = ("sst2", "mrpc", "rte", "squad_v2")
LABELS = {"sst2": "SST-2", "mrpc": "MRPC", "rte": "RTE", "squad_v2": "SQuAD v2"}


def arm(name, kind, *adapters, **sizes):
    empty = dict.fromkeys(("max_loras", "max_cpu_loras", "max_lora_rank"))
    return {"name": name, "kind": kind, "adapters": list(adapters), **empty, **sizes}


ARMS = (
    arm("baseline", "baseline"),
    arm("lora_enabled_base", "lora_enabled_base", max_loras=1, max_lora_rank=8),
    *(arm(f"merged_{name}", "merged", name) for name in ADAPTERS),
    arm("single_adapter", "single", "sst2", max_loras=1, max_lora_rank=8),
    arm("multi_2_adapters", "multi", *ADAPTERS[:2], max_loras=2, max_lora_rank=8),
    arm("multi_4_adapters", "multi", *ADAPTERS, max_loras=4, max_lora_rank=8),
    arm("multi_2_adapters_rank_64", "declared_rank", *ADAPTERS[:2], max_loras=2, max_lora_rank=64),
    arm("multi_4_adapters_2_slots", "few_slots", *ADAPTERS, max_loras=2, max_lora_rank=8),
)

FEW = {"batch_sizes": (1, 8), "concurrency": (4,), "rates": (4.0,), "requests": 4, "max_tokens": 4}
"""A cell that is written in a moment."""

UNSERVED = tuple(f"merged_{name}" for name in ADAPTERS[1:])
"""A second server has one merged model."""

SLOWER = {
    "baseline": 1.0, "lora_enabled_base": 1.08, "merged": 1.0, "single": 1.6, "multi": 1.85,
    "declared_rank": 2.1, "few_slots": 2.3,
}  # fmt: skip
"""How many times as long a kind takes as the base model."""


@dataclass
class Simulated:
    """A cell whose engine takes known times; what the tests change is a field."""

    engine: str = "vllm"
    model: str = "tiny"
    variant: str = ""
    kernels: str = "CPU reference kernels"
    dtype: str = "float32"
    generated: bool = True
    accelerator: str = "cpu"
    status: Status = Status.SUCCESS
    error: str | None = None
    rounds: int = 5
    planned: int | None = None
    batch_sizes: tuple = (1, 2, 4, 8, 16)
    concurrency: tuple = (1, 4, 8)
    rates: tuple = (2.0, 4.0, 8.0, 16.0)
    requests: int = 16
    served_kinds: tuple = ("multi",)
    max_tokens: int = 16
    arms: tuple = ARMS
    slower: dict = field(default_factory=lambda: dict(SLOWER))
    shared_noise: float = 0.05
    own_noise: float = 0.01
    seed: int = 0
    started: str = "2026-08-01T10:00:00+00:00"
    ended: str = "2026-08-01T10:05:00+00:00"

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    def folder(self, runs: Path) -> Path:
        name = f"{self.model},{self.variant}" if self.variant else self.model
        return runs / "serving" / self.engine / name

    def plan(self):
        data = "generated" if self.generated else "real"
        suffix = "-like (generated)" if self.generated else ""
        adapters = [
            {"name": name, "label": f"{LABELS[name]}{suffix}", "task": name, "source": name,
             "rank": 8, "sha256": {}, "drawn": False, "data": data}
            for name in ADAPTERS
        ]  # fmt: skip
        model = {"name": self.model, "path": "models/tiny", "fingerprint": "f00d",
                 "parameters": 930_000, "label": "0.93 M-parameter Llama"}  # fmt: skip
        return {
            "schema": 1, "engine": self.engine, "kernels": self.kernels, "model": model,
            "dtype": self.dtype, "mix": "round_robin", "batch_sizes": list(self.batch_sizes),
            "rounds": self.planned or self.rounds, "max_tokens": self.max_tokens,
            "prompts": "tasks", "prompt_length": 64, "latency_target_s": 0.25,
            "tiny_note": "Left out: a second server and n_merged_engines (serving.full=true).",
            "accelerator": self.accelerator, "prompt_data": data,
            "full": False, "adapters": adapters, "arms": list(self.arms),
            "cannot_tell_apart": [["sst2", "mrpc", 1.0]],
        }  # fmt: skip

    def call_s(self, kind: str, load: float) -> float:
        """Seconds of a call without noise; a batch's grow slower than its size."""
        return 0.06 * load**0.6 * self.slower[kind]

    def call(self, place, each, seconds, size):
        """The rows of one call at a place: phase, load and round."""
        phase, load, number = place
        rows = []
        for request in range(size):
            names = each["adapters"]
            asked = names[request % len(names)] if names else None
            end = seconds * (1 - 0.1 * self.rng.random())
            times = np.linspace(end / (self.max_tokens + 3) * 4, end, self.max_tokens)
            rows.append(
                {"phase": phase, "arm": each["name"], "load": float(load), "round": number,
                 "request": request, "prompt": request, "asked": asked, "served": asked,
                 "submitted_s": 0.0, "ttft_s": times[0], "latency_s": end,
                 "tokens": self.max_tokens, "token_times_s": times.tolist(),
                 "token_ids": [7] * self.max_tokens, "call_s": seconds, "answer": "equal",
                 "equal_tokens": 1.0, "gap": 0.0, "answered_by": None}
            )  # fmt: skip
        return rows

    def round_rows(self, number):
        """One offline round: what slows it slows every arm, and each call has noise of its own."""
        slow = np.exp(self.shared_noise * self.rng.normal())
        calls = [(each, load) for each in self.arms for load in self.batch_sizes]
        rows = []
        for place in self.rng.permutation(len(calls)):
            each, load = calls[place]
            seconds = self.call_s(each["kind"], load) * slow
            seconds *= np.exp(self.own_noise * self.rng.normal())
            rows += self.call(("offline", load, number), each, seconds, load)
        return rows

    def served(self):
        """The arms that servers are asked for."""
        kinds = [each for each in self.arms if each["kind"] in self.served_kinds]
        return [each for each in kinds if each["name"] not in UNSERVED]

    def server_rows(self, phase, load, number):
        """One load of the server with several adapters; beyond 6 requests a second they wait."""
        rows = []
        for each in self.served():
            noise = np.exp(self.shared_noise * self.rng.normal())
            busy = load if phase == "closed_loop" else 1 + max(0, load - 6) ** 1.5
            seconds = self.call_s(each["kind"], busy) * noise
            whole = seconds * self.requests / load if phase == "closed_loop" else None
            part = self.call((phase, load, number), each, seconds, self.requests)
            for row in part:
                row["call_s"] = whole or self.requests / load + seconds
            rows += part
        return rows

    def write(self, runs: Path) -> Path:
        folder = self.folder(runs)
        plan = self.plan()
        write_json(folder / "plan.json", plan)
        write_json(folder / "run.json", asdict(self.record()))
        samples = []
        for number in range(self.rounds):
            rows = self.round_rows(number)
            save(folder / "rounds" / f"round={number:03d}.parquet", rows)
            samples += rows
            for phase, loads in (("closed_loop", self.concurrency), ("open_loop", self.rates)):
                for load in loads:
                    rows = self.server_rows(phase, load, number)
                    name = f"{phase}-{load:g}-round={number:03d}.parquet"
                    if rows:
                        save(folder / "server" / name, rows)
                    samples += rows
        samples += write_untimed(self, folder)
        save(folder / "cold.parquet", self.cold_rows())
        write_json(folder / "memory.json", self.memory())
        write_json(folder / "events.json", self.events())
        checks = {
            "answers": len(samples), "equal": len(samples), "ties": 0, "wrong": 0,
            "wrong_adapter": 0, "base_answers": sum(row["asked"] is None for row in samples),
            "equal_tokens": 1.0, "largest_gap": 0.0,
            "told_apart": sum(map(told_apart, samples)),
        }  # fmt: skip
        write_json(folder / "checks.json", checks)
        return folder

    def cold_rows(self):
        rows = []
        for number in range(self.rounds):
            for arm, load_s in (("lora_enabled_base", 0.015), ("multi_4_adapters_2_slots", 0.0)):
                for name in ADAPTERS:
                    for state, ttft in (("cold", 0.014), ("warm", 0.012)):
                        noise = np.exp(0.05 * self.rng.normal())
                        loaded = load_s * noise if state == "cold" else 0.0
                        rows.append(
                            {"round": number, "arm": arm, "adapter": name, "state": state,
                             "load_s": loaded, "ttft_s": ttft * noise}
                        )  # fmt: skip
        return rows

    def memory(self):
        def gb(each):
            if each["kind"] == "engines":
                return 0.62 + 0.1 * (len(each["adapters"]) - 1)
            with_lora = each["kind"] not in ("baseline", "merged")
            declared = (each["max_loras"] or 0) * (each["max_lora_rank"] or 0) * 1e-4
            return 0.62 + (0.03 + declared if with_lora else 0.0)

        return {
            each["name"]: {"memory_gb": gb(each), "kv_cache_gb": 0.064, "gpu_peak_gb": None}
            for each in self.arms
        }

    def events(self):
        return {
            each["name"]: {
                "start_s": 0.25,
                "load_s": dict.fromkeys(
                    each["adapters"] if each["kind"] not in ("merged",) else (), 0.014
                ),
            }
            for each in self.arms
        } | {"server": {"start_s": 31.0, "load_s": {}}}

    def record(self):
        place = {"benchmark": "serving", "engine": self.engine, "model": self.model,
                 "variant": self.variant}  # fmt: skip
        return RunRecord(
            coordinates=place, config={}, kind="serving", status=self.status, error=self.error,
            versions={"vllm": "0.32.0", "torch": "2.9"}, device="cpu: 2 cores",
            started=self.started, ended=self.ended,
        )  # fmt: skip


def verdict_of(cell):
    """H3 by what it rests on alone."""
    overheads = overhead_table(call_table(cell.samples), cell.plan, seed=0)
    return h3(overheads, count_answers(cell))
