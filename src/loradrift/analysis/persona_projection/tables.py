"""``analysis=persona_projection``: runs and directions -> points, figures, a finding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.persona_projection import AnalyzeProjectionConfig
from loradrift.analysis.persona_projection.monitor import logged, monitor_table
from loradrift.analysis.persona_projection.prediction import (
    FIGURES,
    LEAST_RUNS,
    Estimate,
    figure_table,
    judge_prediction,
    predict,
    trait_table,
)
from loradrift.analysis.persona_projection.projections import project_runs, read_directions
from loradrift.analysis.steering_cells.behaviour import Behaviour, behaviours
from loradrift.analysis.steering_cells.compared import read_compared
from loradrift.config import UserError
from loradrift.report.verdicts import Verdict

MEASURE = "python benchmark.py benchmark=steering trait=… arm=none steering.run=<folder of the run>"
"""What measures how a run behaves."""

COLUMNS = ["run", "label", "task", "own", "seed", "trait", "projection", "cosine", "norm",
           "directions", "made_direction", "change", "change_low", "change_high",
           "questions"]  # fmt: skip

OTHER_TRAITS, HELD_OUT = "other traits", "runs that made no direction"
"""Points of traits that a run was not trained on; of runs of which no direction at all was made."""


class Prediction(NamedTuple):
    """What projections say of behaviour."""

    points: pd.DataFrame
    """One row per run and trait."""

    figures: pd.DataFrame
    """One row per set of points (all, those of the trait trained on, the others) and figure."""

    traits: pd.DataFrame
    """One row per trait."""

    monitor: pd.DataFrame
    """AUROC of what runs logged while training, one row per share of the training."""

    logs: pd.DataFrame
    """One row per run, trait and logged step."""

    verdict: Verdict
    why: str
    estimates: dict[str, Estimate]
    """Of all points."""

    apart: Mapping[str, tuple[int, Estimate]]
    """Runs and Pearson's r of :data:`OTHER_TRAITS` and :data:`HELD_OUT`, where they are enough."""

    runs: int
    problems: Sequence[str]


def tabulate(settings: AnalyzeProjectionConfig) -> Prediction:
    """Read cells, runs and directions, and compute everything.

    Raises:
        UserError: If no run was measured, or there is no direction to project on.
    """
    config, runs = settings.analysis, Path(settings.analysis.runs)
    compared = read_compared(runs, settings.cell, settings.judged_by)
    found, unusable = behaviours(compared.judged, runs, config.seed)
    base = compared.judged[0].cell.record.fingerprints.get("base_model")
    prediction = find_prediction(
        found,
        Path(config.results),
        study=config.study,
        base=base,
        gain=settings.gain,
        seed=config.seed,
    )
    return prediction._replace(problems=[*compared.problems, *unusable, *prediction.problems])


def find_prediction(
    found: Sequence[Behaviour],
    results: Path,
    *,
    study: str | None,
    base: str | None,
    gain: float,
    seed: int,
) -> Prediction:
    """Compute everything from the behaviour of runs; those trained with a direction take no part.

    Raises:
        UserError: If there is no run, no direction, or no point.
    """
    plain = [each for each in found if not each.prevented]
    if not plain:
        raise UserError(f"no fine-tuned run was asked: `{MEASURE}` asks one")
    directions = read_directions(results, study, base)
    traits = sorted({each.trait for each in plain})
    rows, problems = project_runs(plain, directions, traits)
    points = point_table(rows, plain)
    if points.empty:
        why = (*problems, *directions.problems, "nothing was measured")[0]
        raise UserError(f"no run can be projected: {why}")
    subsets = {"all": points, "the trait trained on": points[points["own"]],
               OTHER_TRAITS: points[~points["own"]],
               HELD_OUT: points[~points["made_direction"]]}  # fmt: skip
    figures = {}
    for name, own in subsets.items():
        if own["run"].nunique() >= 3:
            found_here = predict(own, gain, np.random.default_rng(seed))
            figures[name] = own["run"].nunique(), len(own), found_here
    logs, unread = logged(plain, directions)
    runs = int(points["run"].nunique())
    nothing = Verdict.UNDECIDED, f"{runs} fine-tunings, and a verdict takes {LEAST_RUNS}"
    estimates = figures["all"][2] if "all" in figures else {}
    verdict, why = judge_prediction(estimates, runs) if estimates else nothing
    return Prediction(
        points=points,
        figures=figure_table(figures),
        traits=trait_table(points),
        monitor=monitor_table(logs, points, gain, seed),
        logs=logs,
        verdict=verdict,
        why=why,
        estimates=estimates,
        apart={
            name: (figures[name][0], figures[name][2]["pearson"])
            for name in (OTHER_TRAITS, HELD_OUT)
            if name in figures
        },
        runs=runs,
        problems=[*directions.problems, *problems, *unread],
    )


def figure_texts(found: Prediction, *names: str) -> list[str]:
    """Some figures of all points in words, and r where a high one is harder to reach."""
    said = [f"{FIGURES[name]} {found.estimates[name].text}" for name in names]
    if OTHER_TRAITS in found.apart:
        _, r = found.apart[OTHER_TRAITS]
        said.insert(1, f"r {r.text} on traits that a run was not trained on")
    if HELD_OUT in found.apart:
        count, r = found.apart[HELD_OUT]
        said.append(f"r {r.text} over the {count} runs that made no direction")
    return said


def point_table(rows: Sequence[dict[str, object]], found: Sequence[Behaviour]) -> pd.DataFrame:
    """Projections beside the changes of behaviour."""
    projected = {(row["run"], row["trait"]): row for row in rows}
    points = []
    for each in found:
        row = projected.get((each.run, each.trait))
        if row is None:
            continue
        interval = each.change.interval(each.num_questions)
        points.append(
            {
                **row,
                "label": each.label,
                "task": each.record.coordinates.get("task"),
                "own": each.task.get("trait") == each.trait,
                "seed": each.record.coordinates.get("seed"),
                "change": interval.estimate,
                "change_low": interval.low,
                "change_high": interval.high,
                "questions": each.num_questions,
            }
        )
    return pd.DataFrame(points, columns=COLUMNS).astype({"own": bool, "made_direction": bool})
