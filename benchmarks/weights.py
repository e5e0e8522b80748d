"""Operations on the differences of two adapters, side by side with dense matrices.

The modules are TinyLlama-1.1B's 154 linear ones, the adapters of rank 32, rsLoRA, with random
factors: the time does not depend on their values. Dense SVD is measured on one module of each
shape, and the whole is the sum over all modules of their shape's time::

    python benchmarks/weights.py [--rounds 5] [--threads 2]
"""

import argparse
import gc
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from measure import Seconds
from safetensors.torch import save_file

from loradrift.weights import (
    Changes,
    LowRank,
    StoredWeights,
    difference,
    project,
    read_full,
    singular_values,
    spectra,
    total_norm,
)

WIDTH, INNER, KEYS, LAYERS, RANK = 2048, 5632, 256, 22, 32
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KEYS, WIDTH),
    "self_attn.v_proj": (KEYS, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}  # fmt: skip
MODULES = {
    f"model.layers.{layer}.{name}": shape
    for layer in range(LAYERS)
    for name, shape in SHAPES.items()
}
MIB = 2**20
DENSE = 8 * max(math.prod(shape) for shape in SHAPES.values())
"""Bytes of the largest module's change in float64."""

Adapter = dict[str, LowRank]


def main() -> None:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--grows", choices=list(KINDS), help="measure the memory of one and end")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.grows:
        print(grows(given.grows))
        return
    print(f"{len(MODULES)} modules, rank {RANK}, {given.threads} threads, wall time\n")
    print("| what | measured | wanted |\n|---|---|---|")
    sides = drawn(0), drawn(1)
    bench_spectra(*sides, given.rounds)
    bench_projections(sides, given.rounds)


def drawn(seed: int) -> Adapter:
    """An adapter whose factors have the sizes of a trained one."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw) / math.sqrt(shape[-1])

    scale = 64 / math.sqrt(RANK)
    return {
        name: LowRank(normal(rows, RANK), normal(RANK, columns), scale)
        for name, (rows, columns) in MODULES.items()
    }


def bench_spectra(positive: Adapter, negative: Adapter, rounds: int) -> None:
    """All singular values of all differences, against those of the dense differences."""
    seconds = timed(lambda: spectra(difference(positive, negative)), rounds)
    row("all singular values of all differences", f"{seconds:.2f} s", "< 2 s")
    counts, dense_s = Counter(MODULES.values()), 0.0
    apart = difference(positive, negative)
    worst = 0.0
    for shape, count in counts.items():
        change = next(x for x in apart.values() if tuple(x.shape) == shape)
        matrix = change.scale * change.B_OR @ change.A_RI
        found: list[torch.Tensor] = []
        one_s = timed(lambda m=matrix, f=found: f.append(torch.linalg.svdvals(m)), 1, warm=False)
        dense_s += count * one_s
        row(f"dense SVD of one difference {shape}, of {count}", f"{one_s:.2f} s", "")
        values = singular_values(change)
        gap = (found[0][: len(values)] - values).abs().max() / values[0]
        worst = max(worst, float(gap))
    row("dense SVD of all, extrapolated from one of each shape", f"{dense_s:.0f} s", "")
    row("how many times as fast", f"{dense_s / seconds:.0f}", ">= 100")
    row("largest gap to dense, of the largest singular value", f"{worst:.1e}", "< 1e-10")


def bench_projections(sides: tuple[Adapter, Adapter], rounds: int) -> None:
    """A LoRA and a full fine-tuning onto a direction: time, and memory beside what is held."""
    onto = difference(*sides)
    factors = sum(8 * x.numel() for c in onto.values() for x in (c.B_OR, c.A_RI))
    row("the direction's factors in float64", f"{factors / MIB:.0f} MiB", "")
    row("norm of the direction", f"{timed(lambda: total_norm(onto), rounds):.2f} s", "")
    for kind, (name, change) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            changes = change(Path(folder))
            seconds = timed(lambda c=changes: project(c, onto), rounds)  # type: ignore[misc]
        row(f"projection of {name}", f"{seconds:.2f} s", "")
        command = [sys.executable, __file__, "--grows", kind, "--threads", str(threads())]
        added = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row("its memory beside the factors", f"{added / MIB:.0f} MiB", f"< {DENSE / MIB:.0f} MiB")


def full(folder: Path) -> Changes:
    """Two stored models of one block, of which one was trained."""
    block = {name: shape for name, shape in MODULES.items() if ".layers.0." in name}
    draw = torch.Generator().manual_seed(0)
    for name in ("base", "tuned"):
        (folder / name).mkdir()
        weights = {f"{key}.weight": torch.randn(s, generator=draw) for key, s in block.items()}
        save_file(weights, folder / name / "model.safetensors")
    return read_full(StoredWeights(folder / "base"), StoredWeights(folder / "tuned")).modules


KINDS: dict[str, tuple[str, Callable[[Path], Changes]]] = {
    "lora": (f"a LoRA, {len(MODULES)} modules", lambda _: drawn(2)),
    "full": (f"a full fine-tuning, {len(SHAPES)} modules", full),
}


def grows(kind: str) -> int:
    """Bytes by which this process grows at most while it projects a change."""
    onto = difference(drawn(0), drawn(1))
    with tempfile.TemporaryDirectory() as folder:
        changes = KINDS[kind][1](Path(folder))
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = status("VmRSS")
        project(changes, onto)
        return status("VmHWM") - before


def status(key: str) -> int:
    """A size of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def threads() -> int:
    """Those that torch uses now."""
    return int(torch.get_num_threads())


def timed(function: Callable[[], object], rounds: int, *, warm: bool = True) -> Seconds:
    """Median wall time."""
    if warm:
        function()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return median(times)


def row(what: str, value: str, wanted: str) -> None:
    """One line of the table."""
    print(f"| {what} | {value} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
