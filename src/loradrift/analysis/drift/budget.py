"""How much training a run has seen, and where two runs are compared that have seen unequal much.

Runs are compared at equal rows seen: at the end of the one that saw fewer. The other counts as if
it had stopped there; its drift is interpolated between its dumps.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from loradrift.analysis.drift.arms import Arms, Run
from loradrift.analysis.drift.pairing import Pair
from loradrift.analysis.drift.performance import validation_curve
from loradrift.config import UserError
from loradrift.config.keys import flatten

FACTORS = ("task.batch_size", "trainer.accumulate", "trainer.devices")
"""What multiplies to the rows of an optimizer step: every micro-batch is full."""


def rows_per_step(run: Run) -> float:
    """Rows that an optimizer step took, as counted; configured ones where nobody counted.

    Raises:
        UserError: If the record says neither.
    """
    record, config = run.record, flatten(run.record.config)
    if record.steps > 0 and record.budget.get("rows_seen"):
        return record.budget["rows_seen"] / record.steps
    if lost := [key for key in FACTORS if type(config.get(key)) is not int]:
        raise UserError(
            f"{run.folder}: how many rows it has seen is unknown (its record holds neither their "
            f"number nor {', '.join(lost)}), so it cannot be compared at equal training; move it "
            "away and train it again"
        )
    return float(math.prod(config[key] for key in FACTORS))


def at_equal_rows(pair: Pair) -> Pair:
    """The pair, of which the run that saw more rows ends where the other does.

    Raises:
        UserError: If it has no dumps on both sides of that point, or rows are unknown.
    """
    rates = [rows_per_step(run) for run in pair]
    rows = [rate * run.store.steps[-1] for rate, run in zip(rates, pair, strict=True)]
    if math.isclose(*rows):
        return pair
    longer = rows.index(max(rows))
    shorter = 1 - longer
    run, end = pair[longer], min(rows) / rates[longer]
    end = round(end) if math.isclose(end, round(end)) else end
    steps = run.store.steps
    if end not in steps and not any(0 < step < end for step in steps):
        raise UserError(
            f"{run.folder} has seen {max(rows):,.0f} rows and {pair[shorter].folder} "
            f"{min(rows):,.0f}: at as many, its step {end:.6g}, it cannot be read, because "
            f"its dumps are of steps {', '.join(map(str, steps))} and none lies between training's "
            "start and there; train both on as many rows, or this one with "
            f"callbacks.activation_dump.every_n_steps={max(1, int(end))}"
        )
    runs = list(pair)
    runs[longer] = replace(run, end=end)
    return Pair(*runs)


def best_step(run: Run) -> int:
    """The step of the best validation, whose checkpoint was evaluated and exported."""
    curve = validation_curve(run)
    return int(curve.loc[curve["score"] == curve["score"].max(), "step"].iloc[0])


def trained_longer(run: Run) -> bool:
    """Whether the run's model and scores are of more training than it is compared at.

    A best checkpoint from before that point is what the run would have had if it had ended there.
    """
    return run.end is not None and best_step(run) > run.end


def budget_table(runs: Sequence[Run]) -> pd.DataFrame:
    """What each run was trained with, and where it is compared, one row each.

    ``counted`` is false where rows follow from the configuration; ``dump_before`` and
    ``dump_after`` are the dumps around ``compared_step``, the same where one lies on it.
    """
    rows = []
    for run in runs:
        record, rate, config = run.record, rows_per_step(run), flatten(run.record.config)
        seen, ends = rate * record.steps, sorted(run.ends)
        step = ends[0] if run.end is None else run.end
        row = {
            "task": run.task, "method": run.method, "seed": run.seed, "steps": record.steps,
            "batch": " x ".join(str(config.get(key, "?")) for key in FACTORS),
            "rows_seen": seen, "tokens_seen": record.budget.get("tokens_seen"),
            "epochs": seen / record.rows["train"] if record.rows.get("train") else None,
            "counted": bool(record.budget), "compared_step": float(step),
            "compared_rows": rate * step, "dump_before": ends[0], "dump_after": ends[-1],
            "shortened": run.end is not None, "best_step": best_step(run),
            "trained_longer": trained_longer(run),
        }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows).astype({"tokens_seen": float, "epochs": float})


def unequal_training(arms: Arms, budget: pd.DataFrame) -> list[str]:
    """One line for each kind of pair whose runs saw unequal many rows: where it is compared."""
    lines: dict[str, list[str]] = {}
    for _, own in budget.groupby(["task", "seed"], sort=False):
        if own["shortened"].any():
            place = "{task} {seed}".format(**own.iloc[0])
            lines.setdefault(_unequal(arms, own.set_index("method")), []).append(place)
    return [f"{said} ({_places(places)})" for said, places in lines.items()]


def untold(arms: Arms, budget: pd.DataFrame, what: str) -> str:
    """Whose ``what`` (scores, weights) nobody knows at the compared rows; empty if all are known.

    These are of the best checkpoint.
    """
    longer = budget[budget["trained_longer"]]
    labels = {arm.name: arm.label for arm in arms}
    places: dict[str, list[str]] = {}
    for row in longer.to_dict("records"):
        places.setdefault(labels[row["method"]], []).append(f"{row['task']} {row['seed']}")
    return "; ".join(
        f"{label}'s {what} are of more training than it is compared at ({_places(own)})"
        for label, own in places.items()
    )


def _unequal(arms: Arms, own: pd.DataFrame) -> str:
    """What is said of a pair, whose rows of the table ``own`` holds by method."""
    longer = own[own["shortened"]].iloc[0]
    label = {arm.name: arm.label for arm in arms}[str(longer.name)]
    seen = own["rows_seen"].to_dict()
    saw = " and ".join(f"{arm.label} saw {seen[arm.name]:,.0f}" for arm in arms)
    before, after = longer["dump_before"], longer["dump_after"]
    how = f"its dump of step {before}"
    if before != after:
        how = f"interpolated between its dumps of steps {before} and {after}"
    said = (
        f"unequal training: {saw} rows; compared at {longer['compared_rows']:,.0f} rows, where "
        f"{label} is at step {longer['compared_step']:.6g} of {longer['steps']} ({how})"
    )
    if longer["trained_longer"]:
        said += (
            f"; its best checkpoint is of step {longer['best_step']}, after that point, so its "
            "scores and its model take no part"
        )
    return said


def _places(places: Sequence[str]) -> str:
    """``mrpc seed=1, 2; rte seed=1`` of tasks with seeds."""
    seeds: dict[str, list[str]] = {}
    for place in places:
        task, seed = place.rsplit(" ", 1)
        seeds.setdefault(task, []).append(seed)
    return "; ".join(f"{task} seed={', '.join(own)}" for task, own in seeds.items())


def marked(run: Run, drift: pd.DataFrame) -> pd.DataFrame:
    """The drift of a run's dumps, with a column ``compared``: the rows of where it is compared.

    Between two dumps these rows are interpolated, and added.
    """
    if len(run.ends) == 1:
        return drift.assign(compared=drift["step"].isin(run.ends))
    places = ["layer", "measure"]
    first, second = (
        weight * drift[drift["step"] == step].set_index(places)["drift"]
        for step, weight in run.ends.items()
    )
    added = (first + second).reset_index().assign(step=run.end, compared=True)
    whole: pd.DataFrame = pd.concat([drift.assign(compared=False), added[[*drift, "compared"]]])
    return whole.sort_values("step", kind="stable", ignore_index=True)
