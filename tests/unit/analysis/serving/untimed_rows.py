"""Answers of a simulated cell that are checked and not timed, and which can be told apart."""

import pandas as pd

from loradrift.files import write_json

SLOW_S = 1000.0
"""Of calls whose times must count nowhere."""

LEAST = {
    "base": [1] * 32, "sst2": [None] * 32, "mrpc": [None] * 32, "rte": [1, None] * 16,
    "squad_v2": [1] * 32,
}  # fmt: skip
SHARES = [("sst2", "mrpc", 1.0), ("mrpc", "sst2", 1.0), ("rte", "squad_v2", 0.5)]
"""The first two adapters answer alike; the third's answer is the fourth's on every other prompt."""


def told_apart(row) -> bool:
    """Whether an answer is no other model's."""
    even = row["prompt"] % 2 == 0
    return row["asked"] not in ("sst2", "mrpc", "rte") or (row["asked"] == "rte" and even)


def write_untimed(cell, folder):
    """First requests, the search for rates, and ``apart.json``; gives the rows."""
    rows = []
    for each in cell.arms:
        if each["kind"] in ("lora_enabled_base", "few_slots"):
            for asked in cell.plan()["adapters"]:
                own = {**each, "adapters": [asked["name"]]}
                rows += cell.call(("cold", 1.0, 0), own, SLOW_S, 1)
    if rows:
        save(folder / "cold_samples.parquet", rows)
    for each in cell.served() if cell.rates else ():
        # the file says what its rows are, whatever they say themselves
        own = cell.call(("open_loop", 64.0, 0), each, SLOW_S, cell.requests)
        save(folder / "server" / "search" / f"{each['name']}.parquet", own)
        rows += own
    write_json(folder / "apart.json", {"shares": SHARES, "least": LEAST})
    return rows


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(path, index=False)
