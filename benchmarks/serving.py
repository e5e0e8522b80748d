"""What our harness costs beside vLLM's own ``vllm bench throughput`` and ``vllm bench serve``.

The same model, prompts, lengths, adapters and sampling, in one process and on one server. In each
pair the two take turns three times, and the least of each counts: what disturbs only adds::

    python benchmarks/serving.py [--model FOLDER] [--pairs 10] [--size 8] [--tokens 128]

Without ``--model`` it measures a Llama of ``model=tiny``'s size with random weights. Each figure is
the ratio of ours to theirs with a 95 % t interval of its logarithm over the pairs: of the seconds
that each reports, and of the CPU seconds spent meanwhile (the server's too), which other processes
disturb less. What we do besides, rows and the judgement of every answer, is outside of these
seconds, and has a line of its own.

Where offline ours costs more, it is for the time of each token: vLLM then makes an output for every
token instead of one for every answer. On one thread and with ``model=tiny`` that was 7.0 instead of
2.5 µs a token, of 410; our own loop was 2.4, and that of vLLM's ``LLM.generate`` 2.3.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loradrift.config import ModelConfig, TinyModelConfig
from loradrift.generation import Completion, EngineSettings, Request, Sampling, open_engine
from loradrift.generation.vllm_server import VllmServer, open_server
from loradrift.models import load_backbone, load_tokenizer, write_tiny
from loradrift.serving.answers import References, judge
from loradrift.serving.export import draw_adapter
from loradrift.serving.load import Call, closed_loop
from loradrift.serving.samples import ReferenceAnswer, Sample
from loradrift.serving.tolerance import TOLERANCES
from loradrift.statistics import t_interval

WANTED = "<= 1.02"
LENGTH = 64
REPEATS = 3
ADAPTERS = ("1", "2")
"""As ``vllm bench throughput`` calls them, which gives them all one folder."""

FLAGS = [
    "--dtype", "float32", "--enforce-eager", "--no-enable-prefix-caching",
    "--max-model-len", "512", "--kv-cache-memory-bytes", str(256 * 2**20),
]  # fmt: skip
"""The engine's settings below, as vLLM's arguments."""


class Setting(NamedTuple):
    """What is measured."""

    model: Path
    adapter: Path
    size: int
    tokens: int
    pairs: int
    prompts: Sequence[tuple[int, ...]] = ()

    def engine(self, names: Sequence[str]) -> EngineSettings:
        """An engine with these adapters."""
        folders = dict.fromkeys(names, self.adapter)
        return EngineSettings(self.model, folders, threads=1, max_loras=len(names) or None)

    def call(self, names: Sequence[str]) -> Call:
        """Each prompt once, the adapters in turn."""
        asked = [names[i % len(names)] if names else None for i in range(self.size)]
        pairs = enumerate(zip(self.prompts, asked, strict=True))
        requests = [Request(str(i), ids, name) for i, (ids, name) in pairs]
        arm = f"{len(names)} adapters" if names else "base model"
        return Call(arm, 0, range(self.size), requests, Sampling(self.tokens))


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a Hugging Face model folder")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=8, help="requests, and requests in flight")
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or write_model(folder / "model")
        adapter = draw_adapter(model, folder, rank=8, seed=0, name="1").adapter
        assert adapter is not None
        setting = Setting(model, adapter, options.size, options.tokens, options.pairs)
        with open_engine("vllm", setting.engine(())):
            import vllm_bench  # vLLM is there now, with the variables that it must find set
        words = vllm_bench.shape(setting.size, LENGTH, setting.tokens)
        setting = setting._replace(prompts=vllm_bench.workload(model, words))
        print(
            f"{model.name}: {setting.size} requests of {setting.tokens} tokens, {setting.pairs} "
            "pairs, 1 thread\n"
        )
        print("| ours / theirs | reported seconds | CPU seconds | CPU µs a token | wanted |")
        print("|---|---|---|---|---|")
        for names in ((), ADAPTERS):
            bench_offline(setting, names)
        with open_server(setting.engine(ADAPTERS)) as server:
            for names in ((), ADAPTERS):
                bench_server(setting, names, server)


def write_model(folder: Path) -> Path:
    """A small Llama with random weights and a tokenizer."""
    write_tiny(folder, TinyModelConfig(name="tiny"), ["the film was great", "no", "yes"] * 9)
    random = ModelConfig(name="local", path=str(folder), weights="random")
    load_backbone(random, seed=0).lm.save_pretrained(folder)
    load_tokenizer(random).save_pretrained(folder)
    return folder


def bench_offline(setting: Setting, names: Sequence[str]) -> None:
    """Our engine against vLLM's function on the same engine, and against the whole command."""
    import vllm_bench

    call = setting.call(names)
    with open_engine("vllm", setting.engine(names)) as engine:
        own: Any = engine
        adapters = [own._adapters.get(request.adapter) for request in call.requests]
        references = known(engine.generate(call.requests, call.sampling), call)

        def ours() -> vllm_bench.Cost:
            meter = vllm_bench.Meter()
            began = time.perf_counter()
            with meter.running():
                completions = engine.generate(call.requests, call.sampling)
            took = time.perf_counter() - began
            check(rows(completions, call, took), references)
            return vllm_bench.Cost(took, meter.spent)

        def function() -> vllm_bench.Cost:
            return vllm_bench.generate(own._llm, setting.prompts, adapters, setting.tokens)

        def command() -> vllm_bench.Cost:
            words = vllm_bench.shape(setting.size, LENGTH, setting.tokens)
            words += [*FLAGS, "--disable-detokenize", "--num-warmups", str(setting.size)]
            if names:
                words += ["--enable-lora", "--lora-path", str(setting.adapter)]
                words += ["--max-loras", str(len(names)), "--max-lora-rank", "8"]
                words += ["--lora-assignment", "round-robin"]
            return vllm_bench.run_throughput(setting.model, words)

        compare("vllm bench throughput, one engine", setting, call, ours, function)
        compare("vllm bench throughput", setting, call, ours, command)
        completions = engine.generate(call.requests, call.sampling)
        began = time.process_time()
        check(rows(completions, call, 1.0), references)
        spent = f"{1e3 * (time.process_time() - began):.2f} ms"
        print(f"| rows and judgement of {setting.size} answers, {call.arm} | | {spent} | | |")


def bench_server(setting: Setting, names: Sequence[str], server: VllmServer) -> None:
    """Our closed loop against the whole command, on one server."""
    import vllm_bench

    call, meter = setting.call(names), vllm_bench.Meter(server.pid)
    references = known(server.generate(call.requests, call.sampling), call)
    key = server.headers["Authorization"].removeprefix("Bearer ")

    def ours() -> vllm_bench.Cost:
        load = closed_loop(server, call, setting.size)
        assert load.error is None
        check(load.samples, references)
        return vllm_bench.Cost(load.call_s, meter.spent)

    def command() -> vllm_bench.Cost:
        words = vllm_bench.shape(setting.size, LENGTH, setting.tokens)
        words += ["--max-concurrency", str(setting.size)]
        if names:
            words += ["--lora-modules", *names, "--lora-assignment", "round-robin"]
        reported = vllm_bench.run_serve(setting.model, server.url, key, words)
        return vllm_bench.Cost(reported, meter.spent)

    with vllm_bench.metered_load(meter):
        compare("vllm bench serve", setting, call, ours, command)


def rows(completions: Sequence[Completion], call: Call, call_s: float) -> list[Sample]:
    """What our rounds keep of each answer."""
    return [
        Sample(
            "offline", call.arm, len(completions), 0, i, i, request.adapter, each.served, 0.0,
            each.token_times_s[0], each.token_times_s[-1], len(each.token_ids),
            list(each.token_times_s), list(each.token_ids), call_s,
        )
        for i, (each, request) in enumerate(zip(completions, call.requests, strict=True))
    ]  # fmt: skip


def known(completions: Sequence[Completion], call: Call) -> References:
    """The answers that all later ones must be."""
    pairs = enumerate(zip(completions, call.requests, strict=True))
    answers = [ReferenceAnswer(r.adapter, i, list(each.token_ids), 0.0) for i, (each, r) in pairs]
    return References.of(answers)


def check(samples: Sequence[Sample], references: References) -> None:
    """Judge all answers, as each round of the benchmark does."""
    judged = judge(samples, references, lambda model, answers: [], TOLERANCES["float32"])
    assert all(sample.answer == "equal" for sample in judged)


def compare(
    what: str, setting: Setting, call: Call, ours: Callable[[], Any], theirs: Callable[[], Any]
) -> None:
    """Let both take turns and print a line of the table."""
    least: dict[str, list[Any]] = {"ours": [], "theirs": []}
    for _ in range(setting.pairs + 1):
        runs: dict[str, list[Any]] = {"ours": [], "theirs": []}
        for turn in range(REPEATS):
            contenders = [("ours", ours), ("theirs", theirs)]
            for name, run in contenders if turn % 2 else reversed(contenders):
                runs[name].append(run())
        for name, costs in runs.items():
            least[name].append(np.min(costs, axis=0))
    own, other = (np.array(least[name][1:]) for name in ("ours", "theirs"))  # the first warms up
    reported, cpu = (interval(own[:, i], other[:, i]) for i in (0, 1))
    token = float(np.median(own[:, 1] - other[:, 1])) / setting.size / setting.tokens
    figures = f"{reported} | {cpu} | {1e6 * token:+.1f} | {WANTED}"
    print(f"| {what}, {call.arm} | {figures} |", flush=True)


def interval(own: Any, other: Any) -> str:
    """The mean ratio and its interval."""
    found = t_interval(np.log(own) - np.log(other))
    ratio, low, high = (math.exp(each) for each in found[:3])
    return f"{ratio:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
