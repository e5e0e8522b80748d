"""The monitor: does the projection logged while training say which run gains a trait?"""

# Shape suffixes: N points, R resamples.

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from loradrift.analysis.persona_projection.prediction import NUM_RESAMPLES, estimate
from loradrift.analysis.persona_projection.projections import Directions
from loradrift.analysis.steering_cells.behaviour import Behaviour
from loradrift.statistics.association import auroc, cluster_counts

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the training after which the monitor is asked."""

COLUMNS = ["share", "runs", "points", "gains", "auroc", "low", "high"]


def logged(found: Sequence[Behaviour], directions: Directions) -> tuple[pd.DataFrame, list[str]]:
    """The projections that runs logged: one row per run, trait and step, means over directions.

    Directions that a run has a part in are left out, as in the analysis of whole runs.
    """
    tables, problems = [], []
    for each in {(one.folder.resolve(), one.trait): one for one in found}.values():
        try:
            table = pd.read_csv(each.folder / "metrics.csv")
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems.append(f"{each.folder / 'metrics.csv'} cannot be read: {error}")
            continue
        names = [
            f"persona/{each.trait}/seed_{direction.facts['seed']}"
            for direction in directions.usable(each.trait, each)
        ]
        names = [name for name in names if name in table]
        if not names:
            continue
        own = table[["step", *names]].dropna().groupby("step")[names].last().mean(axis=1)
        steps = own.index.to_numpy(dtype=float)
        frame = {"step": steps, "share": steps / max(steps.max(), 1), "projection": own.to_numpy()}
        tables.append(pd.DataFrame(frame).assign(run=each.run, trait=each.trait))
    columns = ["step", "share", "projection", "run", "trait"]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return whole, problems


def monitor_table(logs: pd.DataFrame, points: pd.DataFrame, gain: float, seed: int) -> pd.DataFrame:
    """AUROC of the logged projection for a gain of the trait, after shares of the training.

    Each run counts with the last projection that it had logged by then.
    """
    rows: list[dict[str, Any]] = []
    changes = points.set_index(["run", "trait"])["change"]
    for share in SHARES:
        known = logs[logs["share"] <= share + 1e-9].sort_values("step")
        last = known.groupby(["run", "trait"])["projection"].last().to_frame()
        table = last.join(changes, how="inner").reset_index()
        if table["run"].nunique() < 3:
            continue
        labels_N = (table["change"] >= gain).to_numpy(dtype=float)
        scores_N, runs = table["projection"].to_numpy(dtype=float), list(table["run"])
        counts_RN = cluster_counts(runs, np.random.default_rng(seed), NUM_RESAMPLES)
        whole, drawn_R = auroc(scores_N, labels_N), auroc(scores_N, labels_N, counts_RN)
        found = estimate(float(whole[0]), drawn_R, len(set(runs)))
        rows.append(
            {
                "share": share, "runs": len(set(runs)), "points": len(table),
                "gains": int(labels_N.sum()), "auroc": found.estimate, "low": found.low,
                "high": found.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
