"""Compute what ``study=drift scale=paper`` costs on GPUs not measured yet: docs/clusters.md.

    python tools/study_costs.py <folder of GLUE> <folder of TinyLlama's tokenizer and config.json>

Tokens are counted on the real rows with TinyLlama's tokenizer; everything else follows from the
assumptions below.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import hydra
import numpy as np

from loradrift import config as configuration
from loradrift import launching, study, sweeping
from loradrift.config import Config
from loradrift.study.costs.memory import (
    Shape,
    forward_flops,
    neutral_memory,
    training_flops,
    training_memory,
)
from loradrift.study.costs.rates import Point, Rates, run_seconds
from loradrift.study.costs.rows import read_lengths
from loradrift.study.costs.work import work_of
from loradrift.study.disk import FLOAT

PEAK = 989e12
"""Dense bfloat16 operations per second of an H100 or H200 (SXM), by its maker."""

USED = {1: 0.35, 8: 0.25}
"""Share of that which training is assumed to reach, by the GPUs of a run."""

LAUNCH_S = {"full_finetune": 1.5e-3, "lora": 2.5e-3}
"""Assumed least seconds of a block in a step: many small kernels are launched one by one."""

WRITE_S = 1e-9
"""Assumed seconds for each byte of a checkpoint."""

ENDS_S = 60.0
"""Assumed seconds of loading, exporting and certifying a model of 1.1 B parameters."""

SEEDS, TASKS, METHODS = 3, ("sst2", "mrpc", "rte"), ("full_finetune", "lora")

TINYLLAMA = Shape(
    total=1_100_048_384, trainable=0, depth=22, width=2048, inner=5632, keys=256, vocabulary=32000,
    tied=False,
)  # fmt: skip
LLAMA = Shape(
    total=8_030_261_248, trainable=0, depth=32, width=4096, inner=14336, keys=1024,
    vocabulary=128256, tied=False,
)  # fmt: skip
MODELS = {"TinyLlama-1.1B": TINYLLAMA, "Llama-3.1-8B": LLAMA}


class Cost(NamedTuple):
    """Of one run."""

    seconds: float
    memory: float
    disk: float


def trained(shape: Shape, method: str, rank: int = 8) -> Shape:
    """The shape with what a method trains; a head of the language model is frozen."""
    embeddings = shape.vocabulary * shape.width
    if method == "full_finetune":
        return Shape(**vars(shape) | {"trainable": shape.total - embeddings})
    outs = 2 * (shape.width + shape.width) + 2 * (shape.width + shape.keys)
    outs += 3 * (shape.width + shape.inner)
    return Shape(**vars(shape) | {"trainable": shape.depth * rank * outs})


def cost(config: Config, shape: Shape, devices: int) -> Cost:
    """What one run takes on so many GPUs."""
    lengths = read_lengths(config)
    # with several devices each takes as many rows, and an epoch has fewer steps
    rows = config.task.batch_size * devices
    steps = max(1, round((config.task.epochs or 1) * len(lengths.train) / rows))
    work = work_of(config, lengths, steps, shape.trainable)
    speed = PEAK * USED[devices]
    least = shape.depth * LAUNCH_S[config.method.name]
    step = training_flops(shape, 1, checkpointing=True) / speed
    forward = forward_flops(shape, 1) / speed
    rates = Rates(
        load_s=ENDS_S / 2 * shape.total / TINYLLAMA.total,
        step=floor(least, step),
        forward=floor(least / 4, forward / devices),
        neutral_s=forward / devices,
        write_s=WRITE_S,
        finish_s=ENDS_S / 2 * shape.total / TINYLLAMA.total,
        peak_bytes=0,
    )
    most = int(work.steps.max())
    memory = training_memory(shape, most, checkpointing=True, devices=devices).total
    memory = max(memory, neutral_memory(shape, 16 * 128, devices))
    dump = config.callbacks.activation_dump
    dumps = (1 + -(-steps // dump.every_n_steps)) * shape.depth * (dump.rows + 1) * shape.width
    full = config.method.name == "full_finetune"
    weights = shape.trainable + shape.total if full else 2 * shape.trainable
    return Cost(run_seconds(work, rates), memory, FLOAT * (dumps + weights))


def floor(least: float, each: float) -> list[Point]:
    """Points of a line that is ``least`` up to where ``each`` for a position takes longer."""
    knee = max(2, int(least / each))
    return [Point(1, least), Point(knee, max(least, knee * each)), Point(9 * knee, 9 * knee * each)]


def main(glue: Path, model: Path) -> None:
    """Print a row for each model and place."""
    for part in (configuration, launching, sweeping, study):
        part.register()
    shared = ["scale=paper", "data=local", f"data.root={glue}", "model=local", "seed=42"]
    shared += [f"model.path={model}", "model.weights=random"]
    conf = str(Path(__file__).resolve().parents[1] / "conf")
    for name, base in MODELS.items():
        for devices in (1, 8):
            found: dict[str, list[Cost]] = {}
            for method in METHODS:
                for task in TASKS:
                    typed = [*shared, f"task={task}", f"method={method}"]
                    with hydra.initialize_config_dir(conf):
                        composed = hydra.compose("train", typed)
                    config = configuration.load(composed, typed)
                    found.setdefault(method, []).append(
                        cost(config, trained(base, method), devices)
                    )
            runs = [each for costs in found.values() for each in costs]
            hours = SEEDS * sum(each.seconds for each in runs) / 3600
            longest = max(each.seconds for each in runs) / 3600
            memory = [max(each.memory for each in costs) / 2**30 for costs in found.values()]
            disk = SEEDS * sum(each.disk for each in runs) / 2**30
            cells = [name, devices, f"{disk:.0f} GiB", *(f"{each:.0f} GiB" for each in memory)]
            cells += [f"{hours:.1f} h", f"{longest:.1f} h"]
            print(f"| {' | '.join(map(str, cells))} |")
            print(f"#   by task, hours: {np.round([each.seconds / 3600 for each in runs], 2)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
