"""What a multirun costs beside the training: overhead per cell, skipping, memory.

At ``scale=tiny``, one thread, with ``make bench``, or::

    python benchmarks/multirun.py [--cells 50] [--finished 1000]

The overhead of a cell is all of its time (composition, set-up, checkpoints, export, certificate,
record) but what Lightning's loops take: training, evaluation, dumps. In CPU seconds, which other
processes disturb little, and by the clock.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from loradrift import config, launching, study, sweeping
from loradrift.cli.resolved_config import resolve_config
from loradrift.runs import open_run
from loradrift.training import run

ROOT = Path(__file__).parents[1]


class Measured(NamedTuple):
    """One cell."""

    cpu: float
    """CPU seconds outside of Lightning's loops."""

    clock: float
    """The same by the clock."""

    peak_mib: float


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=50, help="new cells, in one process")
    parser.add_argument("--finished", type=int, default=1000, help="finished cells to skip")
    parser.add_argument("--cache", help="where model=tiny is; it is made there if it is not")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in (config, launching, sweeping, study):
        part.register()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = [f"runs={folder}/runs", f"cache={options.cache or folder / 'cache'}"]
        cells = [measure_cell([*places, f"seed={seed}"]) for seed in range(options.cells + 1)][1:]
        cpu, clock = [cell.cpu for cell in cells], [cell.clock for cell in cells]
        peaks = [cell.peak_mib for cell in cells]
        print("| what | measured | wanted |\n|---|---|---|")
        row("overhead of a cell after the first, CPU s", statistics.median(cpu), "<= 1.50")
        row("the same by the clock, s", statistics.median(clock), "")
        row(f"peak memory of the first of {len(cells)} cells, MiB", peaks[0], "")
        row("peak memory of the last, MiB", peaks[-1], "the same")
        row("largest, MiB", max(peaks), "")
        pretend_finished(folder / "runs", options.finished)
        single, many = (seconds_to_skip(places, number) for number in (1, options.finished))
        row(f"{options.finished} finished cells skipped, s", many, "<= 20")
        row("one more finished cell, ms", 1000 * (many - single) / (options.finished - 1), "<= 20")


def measure_cell(places: list[str]) -> Measured:
    """Run a LoRA cell of two steps as a launcher in this process would."""
    loops: list[tuple[float, float]] = []
    run_stage: Any = pl.Trainer._run_stage

    def timed(trainer: pl.Trainer) -> Any:
        began = now()
        try:
            return run_stage(trainer)
        finally:
            loops.append(since(began))

    began = now()
    typed = ["study=drift", "task.max_steps=2", *places]
    with initialize_config_dir(str(ROOT / "conf")):
        settings = resolve_config(compose("train", typed), typed)
    pl.Trainer._run_stage = timed  # type: ignore[method-assign]
    try:
        with open_run(settings) as cell:
            record = run(settings, cell)
    finally:
        pl.Trainer._run_stage = run_stage  # type: ignore[method-assign]
    all_of_it = since(began)
    cpu, clock = (total - sum(parts) for total, *parts in zip(all_of_it, *loops, strict=True))
    return Measured(cpu, clock, record.performance["peak_memory_bytes"] / 2**20)


def now() -> tuple[float, float]:
    """CPU time and clock."""
    return time.process_time(), time.perf_counter()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds of both."""
    cpu, clock = now()
    return cpu - began[0], clock - began[1]


def pretend_finished(runs: Path, number: int) -> None:
    """Give the first ``number`` seeds a record like that of seed 0, with nothing else."""
    [first] = runs.glob("drift/sst2/lora*/seed=0/run.json")
    record = json.loads(first.read_text())
    for seed in range(number):
        record["coordinates"]["seed"] = record["config"]["seed"] = seed
        folder = first.parents[1] / f"seed={seed}"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(json.dumps(record, indent=2))


def seconds_to_skip(places: list[str], number: int) -> float:
    """From the command to its closing table."""
    command = [sys.executable, "train.py", "study=drift", "-m", "study.phases=[production]"]
    axes = ["task=sst2", "method=lora", f"seed=range({number})", "task.max_steps=2"]
    began = time.perf_counter()
    done = subprocess.run([*command, *axes, *places], cwd=ROOT, check=True, capture_output=True)
    assert f"{number} finished already" in done.stdout.decode(), done.stdout.decode()
    return time.perf_counter() - began


def row(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"| {what} | {value:.2f} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
