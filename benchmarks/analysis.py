"""What the drift analysis takes at full size: time per dump, and resident memory.

Writes runs of TinyLlama's shape (22 layers, 512 rows, width 2,048) with random activations, and
analyses them in a process of its own for each size::

    python benchmarks/analysis.py [--folder FOLDER]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from loradrift.activations import ActivationStore, Pooling, Probe
from loradrift.analysis.drift.arms import Arms
from loradrift.analysis.drift.pairing import find_pairs
from loradrift.analysis.drift.tables import analyse
from loradrift.runs import Cell, RunRecord, Status

LAYERS, ROWS, WIDTH = 22, 512, 2048


def main() -> None:
    """Measure each size and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where there are 6 GB")
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyse:
        measure(options.analyse)
        return
    print("| seeds | dumps a run | seconds | seconds a dump | resident memory |")
    print("|---|---|---|---|---|")
    for num_seeds, num_dumps in ((1, 3), (1, 6), (1, 12), (3, 3)):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            for seed in range(num_seeds):
                for method in Arms.of().names:
                    write_run(Path(name, "runs"), method, seed, num_dumps)
            command = [sys.executable, __file__, "--analyse", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, memory = map(float, done.stdout.split())
            total = 2 * num_seeds * num_dumps
            print(
                f"| {num_seeds} | {num_dumps} | {seconds:.1f} | {seconds / total:.2f} | "
                f"{memory / 2**30:.2f} GiB |",
                flush=True,
            )


def measure(folder: Path) -> None:
    """Seconds, and the largest resident memory in bytes."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    analyse(find_pairs(folder / "runs", None), [], folder / "results", 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.perf_counter() - began, memory)


def write_run(runs: Path, method: str, seed: int, num_dumps: int) -> None:
    """A finished run whose layers drift at random."""
    folder = runs / "drift" / "sst2" / method / f"seed={seed}"
    place = {"study": "drift", "task": "sst2", "method": method, "variant": "", "seed": seed}
    config = {"task": {"metric": "accuracy"}}
    record = RunRecord(coordinates=place, config=config, status=Status.SUCCESS)
    if method == "lora":  # demanded of it
        record.certificate = {"passed": True, "checks": [], "files": {}}
    Cell(folder, record).save()
    ones = torch.ones(ROWS, 2, dtype=torch.int64)
    batch = {"input_ids": ones, "attention_mask": ones, "content_mask": ones.bool()}
    probe = Probe(tuple(map(str, range(ROWS))), (batch,))
    generator = torch.Generator().manual_seed(0)
    base = {f"layer_{k}": torch.randn(ROWS, WIDTH, generator=generator) for k in range(LAYERS)}
    generator.manual_seed(seed + 1)
    with ActivationStore(folder / "activations") as store:
        store.prepare(probe, Pooling(), list(base))
        for dump in range(num_dumps):
            noise = {k: torch.randn(x.shape, generator=generator) for k, x in base.items()}
            store.write(100 * dump, {k: x + 0.1 * dump * noise[k] for k, x in base.items()})
    lines = [f"{100 * dump},{0.5 + 0.01 * dump}" for dump in range(1, num_dumps)]
    (folder / "metrics.csv").write_text("\n".join(["step,validation/accuracy", *lines]) + "\n")


if __name__ == "__main__":
    main()
