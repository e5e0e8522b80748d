"""CKA side by side with its floor, the symmetric products that it needs, and with public packages.

Every figure is the median over rounds of a ratio within the round, in which the candidates take
turns, on one thread, in CPU time. Errors are against the published formula in float64::

    python benchmarks/similarity.py [--rounds 7]
"""

import argparse
import os

for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"  # read when numpy is imported

from collections.abc import Callable

import cka as pytorch_cka
import ckatorch
import torch
from measure import ratio, take_turns, timed
from torch import Tensor

from loradrift.similarity.functional.gram import (
    cka_grid,
    cka_of_grams,
    linear_gram,
    linear_grams,
)
from loradrift.similarity.metrics import CKA
from loradrift.similarity.reference import reference

LAYERS = 22


def main() -> None:
    """Measure everything and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| what, as a ratio to its floor | measured | wanted |\n|---|---|---|")
    bench_pair(rounds)
    bench_grid(max(3, rounds // 2))
    bench_stream(max(3, rounds // 2))
    print("\n| case | ours | pytorch-cka | ckatorch |\n|---|---|---|---|")
    errors()


def pair(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two related sides in float32."""
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(n, d, generator=generator)
    return x_ND, x_ND + torch.randn(n, d, generator=generator)


def ours(x_ND: Tensor, y_ND: Tensor) -> float:
    """Biased and debiased together; the debiased one is returned."""
    return cka_of_grams(linear_gram(x_ND), linear_gram(y_ND)).debiased


PACKAGES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "pytorch-cka": lambda x, y: float(pytorch_cka.cka_from_features(x, y)),
    "ckatorch": lambda x, y: float(ckatorch.cka_base(x, y, unbiased=True)),
}
"""Public packages that give the debiased value."""


def bench_pair(rounds: int) -> None:
    """One pair, n = 2,000 and d = 2,048; the floor is its two Grams."""
    x_ND, y_ND = pair(2000, 2048)
    x, y = x_ND.numpy(), y_ND.numpy()
    base = linear_gram(x_ND)
    seconds = take_turns(
        {
            "floor": lambda: timed(lambda: (x @ x.T, y @ y.T)),
            "ours": lambda: timed(lambda: ours(x_ND, y_ND)),
            "cached": lambda: timed(lambda: cka_of_grams(base, linear_gram(y_ND))),
            **{
                name: lambda f=f: timed(lambda: f(x_ND, y_ND))  # type: ignore[misc]
                for name, f in PACKAGES.items()
            },
        },
        rounds,
    )
    row("one pair, biased and debiased", ratio(seconds, "ours", "floor"), "<= 1.10")
    row("one pair, base cached", ratio(seconds, "cached", "floor"), "<= 0.55")
    for name in PACKAGES:
        row(f"one pair, {name} (debiased only)", ratio(seconds, name, "floor"), "")


def bench_grid(rounds: int) -> None:
    """All layers against all layers, n = 1,000; the floor is one Gram per layer and side."""
    sides = [pair(1000, 2048, seed) for seed in range(LAYERS)]
    arrays = [(x.numpy(), y.numpy()) for x, y in sides]
    base = linear_grams([x for x, _ in sides])

    def cached() -> None:
        cka_grid(base, linear_grams([y for _, y in sides]))

    def grid() -> None:
        cka_grid(linear_grams([x for x, _ in sides]), linear_grams([y for _, y in sides]))

    seconds = take_turns(
        {
            "floor": lambda: timed(lambda: [(x @ x.T, y @ y.T) for x, y in arrays]),
            "ours": lambda: timed(grid),
            "cached": lambda: timed(cached),
        },
        rounds,
    )
    row(f"{LAYERS} x {LAYERS} layers", ratio(seconds, "ours", "floor"), "<= 1.45")
    row(f"{LAYERS} x {LAYERS} layers, base cached", ratio(seconds, "cached", "floor"), "<= 0.60")


def bench_stream(rounds: int) -> None:
    """N = 20,000 in batches of 256; the floor is X^T X, Y^T Y and X^T Y at once."""
    x_ND, y_ND = pair(20_000, 2048)
    x, y = x_ND.numpy(), y_ND.numpy()

    def stream() -> None:
        metric = CKA(2048, 2048)
        for rows in zip(x_ND.split(256), y_ND.split(256), strict=True):
            metric.update(*rows)
        metric.compute()

    seconds = take_turns(
        {
            "floor": lambda: timed(lambda: (x.T @ x, y.T @ y, x.T @ y)),
            "ours": lambda: timed(stream),
        },
        rounds,
    )
    row("exact streaming, n = 20,000", ratio(seconds, "ours", "floor"), "<= 1.10")


def errors() -> None:
    """Distance of each implementation's float32 value from the formula in float64."""
    for name, (x_ND, y_ND) in hard_cases().items():
        exact = reference("cka", x_ND, y_ND)
        found = [abs(f(x_ND, y_ND) - exact) for f in (ours, *PACKAGES.values())]
        print(f"| {name} | " + " | ".join(f"{error:.1e}" for error in found) + " |", flush=True)


def hard_cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Where instruments go wrong."""
    x_ND, y_ND = pair(512, 2048)
    noise_ND = pair(512, 2048, 1)[0]
    outlier_D = torch.ones(2048)
    outlier_D[7] = 300
    massive_N1 = torch.ones(512, 1)
    massive_N1[5] = 100
    tall = pair(2000, 64)
    return {
        "n < d": (x_ND, y_ND),
        "n > d": tall,
        "independent noise": (x_ND, noise_ND),
        "means 1000 times the spread": (x_ND + 1000, y_ND + 1000),
        "one dimension of 300x": (x_ND * outlier_D, y_ND * outlier_D),
        "one massive row": (x_ND * massive_N1, y_ND * massive_N1),
        "duplicated rows": (x_ND.repeat(2, 1), y_ND.repeat(2, 1)),
        "tiny values": (x_ND * 1e-18, y_ND * 1e-18),
        "nearly equal (drift 1e-8)": (x_ND, x_ND + 1e-4 * noise_ND),
    }


def row(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"| {what} | {value:.2f} | {wanted} |", flush=True)


if __name__ == "__main__":
    main()
