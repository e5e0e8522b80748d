"""The steps of ``task=reconstruction``: does their time grow with K, and what do examples cost?

Every figure is the median over rounds of a ratio within the round, in which the candidates take
turns, on one thread, in CPU time. ``make bench``, or::

    python benchmarks/reconstruction.py [--model FOLDER] [--data FOLDER] [--rounds 5] [--steps 8]

Without ``--model`` and ``--data`` it measures ``model=tiny`` (random weights) on the embedded data;
``--data`` holds SQuAD v2's files.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from measure import Seconds, ratio, take_turns, timed

from loradrift import config as configuration
from loradrift.config import Config
from loradrift.data import Batch
from loradrift.models import trainable_parameters
from loradrift.models.soft_prompt import prefix
from loradrift.tasks.prepared import PreparedData
from loradrift.training import build, run
from loradrift.training.prepared_data import prepare

ROOT = Path(__file__).parents[1]
TOKENS = (1, 4, 16)
"""Values of K."""


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a Hugging Face model folder")
    parser.add_argument("--data", help="a folder with SQuAD v2's files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        config = compose_config(options, Path(name))
        inputs = prepare(config, pretrain=run)
        batches = list(build.train_batches(config, inputs, build.ALONE, options.steps))
        print(
            f"{inputs.model.path}, {config.data.name}, {options.rounds} rounds of {options.steps} "
            f"steps of {config.task.batch_size} rows, 1 thread\n"
        )
        print("| what | measured | wanted |\n|---|---|---|")
        bench_tokens(config, inputs, batches, options.rounds)
        bench_prefix(config, inputs, batches, options.rounds)


def compose_config(options: argparse.Namespace, folder: Path) -> Config:
    """A LoRA run whose losses include the cross-entropy of the first K tokens."""
    configuration.register()
    overrides = ["task=reconstruction", "task.k_token_weight=0.01", "task.first_token_weight=0"]
    overrides += [f"runs={folder}/runs", f"cache={folder}/cache", "data.train_rows=400"]
    overrides += ["callbacks.forgetting.enabled=false", "task.batch_size=16", "task.shots=3"]
    overrides += [f"task.max_answer_tokens={max(TOKENS)}"]
    if options.model:
        overrides += ["model=local", f"model.path={options.model}", "task.max_length=1024"]
    else:
        overrides += ["model.pretraining.task.max_steps=1", "task.max_length=512"]
    if options.data:
        overrides += ["data=local", f"data.root={options.data}"]
    with initialize_config_dir(str(ROOT / "conf")):
        return configuration.load(compose("train", overrides))


def bench_tokens(config: Config, inputs: PreparedData, batches: list[Batch], rounds: int) -> None:
    """Steps with K = 4 and 16 against K = 1, of the same weights on the same rows."""

    def candidate(tokens: int) -> Any:
        task: Any = replace(config.task, ce_tokens=tokens)
        built = build.build_task(replace(config, task=task), inputs, 1).task
        return lambda: step_time(built, batches)

    seconds = take_turns({str(tokens): candidate(tokens) for tokens in TOKENS}, rounds)
    for tokens in TOKENS[1:]:
        what = f"time of a step with K={tokens} / with K=1"
        row(what, ratio(seconds, str(tokens), "1"), "<= 1.05")


def bench_prefix(config: Config, inputs: PreparedData, batches: list[Batch], rounds: int) -> None:
    """Examples that are read in every row against those that are read once."""
    built = build.build_task(config, inputs, 1).task
    worth = prefix.WORTH_IT

    def each() -> Seconds:
        prefix.WORTH_IT = 10**9
        try:
            return step_time(built, batches)
        finally:
            prefix.WORTH_IT = worth

    seconds = take_turns({"once": lambda: step_time(built, batches), "each": each}, rounds)
    what = "time of a step that reads 3 examples in each row / once"
    row(what, ratio(seconds, "each", "once"), ">= 1.00")


def step_time(task: Any, batches: list[Batch]) -> Seconds:
    """CPU seconds of forward and backward passes."""

    def steps() -> None:
        for batch in batches:
            task.loss(batch).backward()
            for parameter in trainable_parameters(task.model).values():
                parameter.grad = None

    return timed(steps)


def row(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"| {what} | {value:.2f} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
