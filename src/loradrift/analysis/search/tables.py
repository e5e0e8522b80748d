"""A study's searches as tables: trials, what was best, what mattered, and what lies on an edge."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from loradrift.analysis.search import SearchReportConfig
from loradrift.analysis.search.search_storage import open_searches
from loradrift.analysis.tables import write_tables
from loradrift.config import UserError
from loradrift.runs import TASK_LABELS, labelled_task, read_record
from loradrift.sweeping.best import best_trial, objective, write_best

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

MIN_TRIALS = 8  # completed trials without which no importance is given
TOP = 0.25  # importance is about what it takes to be in this best share of the completed trials
SHUFFLES = 100  # searches with shuffled values, which show what importance chance gives

STATES = ("complete", "pruned", "failed", "killed", "interrupted", "running", "waiting")
"""How a trial stands, as Optuna says; but a ``failed`` one failed by itself, the process of a
``killed`` one ended, and an ``interrupted`` one was asked to stop. The last two are run again."""

UNTIMED = ("killed", "interrupted")
"""States whose end in the storage is when somebody noticed, which may be days later."""


class Searches(NamedTuple):
    """Tables about all searches of a study; each has the columns ``task`` and ``method``."""

    summary: pd.DataFrame
    """``task_label``, ``objective``, ``direction``, trials in each state, the best one
    (the first of equal ones, which so many others ``tied`` with), seconds (of all trials but killed
    and interrupted ones)."""

    trials: pd.DataFrame
    """One row per trial: ``number``, ``state``, ``value`` (of a pruned one the last it reported),
    ``share`` of its run at its last report, ``seconds`` (none of :data:`UNTIMED`), a column for
    each parameter, ``error``, ``cell``."""

    coordinates: pd.DataFrame
    """Each trial's ``value`` of each ``key``."""

    importance: pd.DataFrame
    """``key``, ``importance`` (they sum to 1), ``chance``: the 95 % quantile of shuffled values."""

    edges: pd.DataFrame
    """Best values on the edge of their range: ``key``, ``value``, ``side``, ``searched``."""


class Found(NamedTuple):
    """A study: its name, its searches ``<study>/<task>/<method>``, and the tables about them."""

    name: str
    studies: "list[optuna.Study]"
    tables: Searches


def tabulate(settings: SearchReportConfig) -> Found:
    """Write the tables and the best values in ``<results>/search/<study>/``."""
    config = settings.analysis
    studies = open_searches(config, settings.storage)
    parts = [_analyse(study, config.seed) for study in studies]
    tables = Searches(*(pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True)))
    name = studies[0].study_name.partition("/")[0]
    if tables.trials.empty:
        raise UserError(f"the searches of study {name} have no trial yet: nothing to report")
    results = Path(config.results)
    write_tables(results / "search" / name, tables._asdict())
    for study in studies:
        if best_trial(study):
            write_best(study, results)
    return Found(name, studies, tables)


def _analyse(study: "optuna.Study", seed: int) -> Searches:
    from loradrift.sweeping.range_boundary import Edge, find_boundary_optima

    trials = study.get_trials(deepcopy=False)
    best = best_trial(study)
    edges = find_boundary_optima(best) if best else []
    table = _trial_table(trials)
    values = [
        (trial.number, key, str(value))
        for trial in trials
        for key, value in sorted(trial.params.items())
    ]
    tables = Searches(
        summary=_summary(study, table),
        trials=table,
        coordinates=pd.DataFrame(values, columns=["number", "key", "value"]),
        importance=_importance(study, seed),
        edges=pd.DataFrame(edges, columns=Edge._fields, dtype=str),
    )
    _, task, method = study.study_name.split("/")
    for each in tables:
        each.insert(0, "task", task)
        each.insert(1, "method", method)
    return tables


def state_of(trial: "FrozenTrial", trials: Sequence["FrozenTrial"]) -> str:
    """Tell how a trial stands (:data:`STATES`) among ``trials``, all of its search."""
    from loradrift.sweeping.recovery import was_interrupted

    name = trial.state.name.lower()
    if name != "fail":
        return name
    if "error" in trial.user_attrs:
        return "failed"
    return "interrupted" if was_interrupted(trial, trials) else "killed"


def _summary(study: "optuna.Study", trials: pd.DataFrame) -> pd.DataFrame:
    best = best_trial(study)
    counts = Counter(trials["state"])
    seconds = trials["seconds"].astype(float)
    completed = trials.loc[trials["state"] == "complete", "value"]  # pruned ones have values too
    row = {
        "task_label": _task_label(study),
        "objective": objective(study),
        "direction": study.direction.name.lower(),
        **{state: counts[state] for state in STATES},
        "best_trial": pd.NA if best is None else best.number,
        "best_value": math.nan if best is None else best.values[0],
        "tied": 0 if best is None else int((completed == best.values[0]).sum()) - 1,
        "median_seconds": seconds.median(),
        "total_seconds": float(sum(seconds.dropna())),
    }
    return pd.DataFrame([row])


def _task_label(study: "optuna.Study") -> str:
    """How the task is written: as a trial's run says, or, if none is left, by its name."""
    task = study.study_name.split("/")[1]
    for trial in study.get_trials(deepcopy=False):
        with suppress(UserError):
            if record := read_record(Path(trial.user_attrs.get("cell", ""))):
                return record.task_label
    source = study.user_attrs.get("facts", {}).get("data.name")
    return labelled_task(TASK_LABELS.get(task, task), generated=source == "embedded")


def _trial_table(trials: list["FrozenTrial"]) -> pd.DataFrame:
    from loradrift.sweeping.reporting import PARTS

    rows = []
    for trial in trials:
        reported = trial.intermediate_values.get(trial.last_step or 0)
        value = trial.values[0] if trial.values else reported
        state = state_of(trial, trials)
        duration = None if state in UNTIMED else trial.duration
        row = {
            "number": trial.number,
            "state": state,
            "value": math.nan if value is None else value,
            "share": math.nan if trial.last_step is None else trial.last_step / PARTS,
            "seconds": math.nan if duration is None else duration.total_seconds(),
            **dict(sorted(trial.params.items())),
            "error": trial.user_attrs.get("error"),
            "cell": trial.user_attrs.get("cell"),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["number", "state", "value", "seconds"])


def _importance(study: "optuna.Study", seed: int) -> pd.DataFrame:
    """Importances by PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255), which fits no model."""
    from optuna.trial import TrialState

    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows = []
    if len(completed) >= MIN_TRIALS:
        values = np.array([trial.values[0] for trial in completed])
        draw = np.random.default_rng(seed)
        found = _shares(study, completed, values)
        shuffled = [_shares(study, completed, draw.permutation(values)) for _ in range(SHUFFLES)]
        for key, share in found.items():
            rows.append((key, share, np.quantile([each[key] for each in shuffled], 0.95)))
    table = pd.DataFrame(rows, columns=["key", "importance", "chance"])
    return table.astype({"importance": float, "chance": float})


def _shares(
    study: "optuna.Study", completed: list["FrozenTrial"], values: "np.ndarray[Any, Any]"
) -> dict[str, float]:
    """Compute each parameter's importance if the trials had these values, largest first."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    copy = optuna.create_study(direction=study.direction)
    copy.add_trials(
        create_trial(value=float(value), params=trial.params, distributions=trial.distributions)
        for trial, value in zip(completed, values, strict=True)
    )
    with warnings.catch_warnings():
        # equal values leave nothing to tell apart, and all keys are then equally important
        warnings.simplefilter("ignore", UserWarning)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
        shares = get_param_importances(copy, evaluator=evaluator)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
