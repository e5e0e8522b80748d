"""``vllm bench throughput`` and ``vllm bench serve``, run in this process, with their CPU seconds.

Both are the commands' own functions with the commands' own arguments; only the terminal is spared.
``throughput`` always draws its tokens at temperature 1: here it takes the likeliest, as ours does.
"""

import asyncio
import contextlib
import gc
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import vllm
from vllm.benchmarks import serve, throughput
from vllm.benchmarks.datasets import SampleRequest
from vllm.tokenizers import get_tokenizer
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine import core

from loradrift.generation.vllm_library import quiet


class Cost(NamedTuple):
    """One run of a contender."""

    reported_s: float
    """Seconds by the clock that it reports."""

    cpu_s: float
    """CPU seconds meanwhile, of this process and of the server's."""


class Meter:
    """CPU seconds of this process, and of the session that a server began."""

    def __init__(self, server: int | None = None) -> None:
        self.server = server
        self.spent = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Note what the block spends; of several blocks the last counts."""
        began = self._total()
        yield
        self.spent = self._total() - began

    def _total(self) -> float:
        return time.process_time() + (0.0 if self.server is None else session_cpu_s(self.server))


def session_cpu_s(leader: int) -> float:
    """CPU seconds that the living processes of a session have had."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = entry.read_text().rpartition(")")[2].split()
            if int(words[3]) == leader:
                ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have a module, in the block, hold another function."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def greedy() -> contextlib.AbstractContextManager[None]:
    """Sampling parameters made in the block take the likeliest token, whatever they ask."""
    original = vllm.SamplingParams
    return replaced(
        vllm, "SamplingParams", lambda **options: original(**options | {"temperature": 0.0})
    )


def workload(model: Path, words: Sequence[str]) -> list[tuple[int, ...]]:
    """The token ids of the prompts that both commands draw with these arguments."""
    tokenizer = get_tokenizer(str(model))
    drawn = throughput.get_requests(throughput_args(model, words), tokenizer)
    return [tuple(tokenizer(each.prompt).input_ids) for each in drawn]


def shape(count: int, length: int, tokens: int) -> list[str]:
    """Arguments of both commands: how many prompts, of which length, and the answers' length."""
    sizes = ["--num-prompts", count, "--random-input-len", length, "--random-output-len", tokens]
    return [*map(str, sizes), "--dataset-name", "random", "--seed", "0"]


def throughput_args(model: Path, words: Sequence[str]) -> Any:
    """The arguments of ``vllm bench throughput``, parsed as it does."""
    parser = FlexibleArgumentParser()
    throughput.add_cli_args(parser)
    return parser.parse_args(["--model", str(model), *words])


def run_throughput(model: Path, words: Sequence[str]) -> Cost:
    """Run the whole command, which starts an engine of its own."""
    meter, timed = Meter(), throughput._run_vllm_requests

    def metered(*args: Any, **options: Any) -> Any:
        with meter.running():
            return timed(*args, **options)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        said = Path(folder, "said.json")
        args = throughput_args(model, [*words, "--output-json", str(said)])
        stack.enter_context(replaced(throughput, "_run_vllm_requests", metered))
        # our engine, which is up too, shares what the command's takes down at its end
        stack.enter_context(replaced(core, "cleanup_dist_env_and_memory", lambda: None))
        with greedy(), quiet():
            throughput.main(args)
            gc.collect()
        return Cost(float(json.loads(said.read_text())["elapsed_time"]), meter.spent)


def generate(llm: Any, prompts: Sequence[Sequence[int]], adapters: Sequence[Any], n: int) -> Cost:
    """What ``vllm bench throughput`` times, on an engine that is up.

    Args:
        llm: vLLM's ``LLM``.
        prompts: Token ids.
        adapters: The ``LoRARequest`` of each; None is the base model.
        n: Tokens of each answer.
    """
    requests = [
        SampleRequest(
            prompt={"prompt_token_ids": list(ids)},  # type: ignore[arg-type]  # what it tests for
            prompt_len=len(ids),
            expected_output_len=n,
            lora_request=adapter,
        )
        for ids, adapter in zip(prompts, adapters, strict=True)
    ]
    meter = Meter()
    with greedy(), quiet(), meter.running():
        seconds, _ = throughput._run_vllm_requests(
            llm,
            requests,
            1,
            disable_detokenize=True,
            do_profile=False,
            prequeue_requests=False,
            enable_lora=any(adapters),
        )
    return Cost(float(seconds), meter.spent)


@contextlib.contextmanager
def metered_load(meter: Meter) -> Iterator[None]:
    """Note what vLLM's load generator spends, whose client it may have."""
    benchmark = serve.benchmark

    async def metered(**options: Any) -> Any:
        with meter.running():
            return await benchmark(**options)

    with replaced(serve, "benchmark", metered):
        yield


def run_serve(model: Path, url: str, key: str, words: Sequence[str]) -> float:
    """Run ``vllm bench serve`` against a server; gives the seconds that it reports."""
    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    fixed = ["--model", str(model), "--served-model-name", "base", "--base-url", url]
    fixed += ["--temperature", "0", "--ignore-eos", "--disable-tqdm"]
    args = parser.parse_args([*fixed, *words])
    os.environ["OPENAI_API_KEY"] = key  # where the command looks for it
    try:
        with contextlib.redirect_stdout(io.StringIO()), quiet():
            result: dict[str, Any] = asyncio.run(serve.main_async(args))
    finally:
        del os.environ["OPENAI_API_KEY"]
    assert result["failed"] == 0, result["errors"]
    return float(result["duration"])
