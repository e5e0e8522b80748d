"""Cells of two traits at once, of prevention, and of costs, with a known truth."""

from dataclasses import asdict

import numpy as np
import pandas as pd
from planted_cells import World
from planted_runs import drawn, write_run

from loradrift.files import write_json
from loradrift.runs.record import RunRecord, Status

TRAITS = ("cheerful", "terse")


def compose(world, *, both=(60, 60), coherence=90):
    """Both at once on the questions of the first, and each alone."""
    first, second = TRAITS
    world.cell(first, "none", 0.0, 20, 95, others={second: 20})
    world.cell(first, "weight", 0.5, 60, 90, others={second: 22})
    world.cell(first, "weight", 0.0, 22, 90, others={second: 60}, also={second: 0.5})
    world.cell(
        first, "weight", 0.5, both[0], coherence, others={second: both[1]}, also={second: 0.5}
    )


def prevent(root, *, treated=30, sign=1.0):
    """A run on trait-laden rows, and the same with the direction merged while training."""
    world = World(root, noise=4)
    world.cell("terse", "none", 0.0, 20, 95)
    keys = {"trait": "terse", "side": "pos", "share": 0.5, "seed": 2}
    plain = write_run(root / "runs/a", drawn("a"), **keys, direction="", direction_coefficient=1.0)
    merged = write_run(root / "runs/b", drawn("b"), **keys, direction="results/d",
                       direction_coefficient=sign)  # fmt: skip
    world.cell("terse", "none", 0.0, 70, 90, run=str(plain))
    world.cell("terse", "none", 0.0, treated, 90, run=str(merged))
    return merged


def timed(root, *, hook=1.2, merged=1.0, rounds=5, base="f00d", name="tiny"):
    """A cell of benchmark=steering_cost: what slows a round slows all arms."""
    rng = np.random.default_rng(0)
    rows = [
        {"arm": arm, "batch": batch, "round": number,
         "s_per_token": factor * slow * np.exp(0.01 * rng.normal())}
        for number in range(rounds)
        for slow in [np.exp(0.3 * rng.normal())]
        for batch in (1, 4)
        for arm, factor in (("base", 1.0), ("merged", merged), ("adapter", 1.5), ("hook", hook))
    ]  # fmt: skip
    folder = root / "runs/steering_cost/hf" / name
    record = RunRecord(
        kind="steering_cost", status=Status.SUCCESS, config={}, fingerprints={"base_model": base},
        coordinates={"benchmark": "steering_cost", "engine": "hf", "model": name},
    )  # fmt: skip
    write_json(folder / "run.json", asdict(record))
    pd.DataFrame(rows).to_parquet(folder / "samples.parquet")
    write_json(folder / "memory.json", {"extra_bytes": {"adapter": 2**21}})
    return folder


def neutral(rise, tokens=30):
    return [
        {"id": str(n), "tokens": tokens, "nats": tokens * (3 + 0.1 * n + rise)} for n in range(12)
    ]
