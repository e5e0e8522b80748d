"""Searches without training: trials with planted values, in every state that a trial can end in."""

import datetime
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

SPACE = {
    "method.optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
    "method.dropout": FloatDistribution(0.0, 0.2),
    "method.rank": CategoricalDistribution([4, 8, 16]),
}
BEGAN = datetime.datetime(2024, 1, 1)


def add(study, state, value, *, lr, dropout=0.1, rank=8, seconds=60, **attributes):
    """One trial; a pruned one reports ``value`` at step 50 and has no result."""
    ended = BEGAN + datetime.timedelta(seconds=seconds)
    trial = create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params={"method.optim.lr": lr, "method.dropout": dropout, "method.rank": rank},
        distributions=SPACE,
        user_attrs=attributes,
        intermediate_values={10: value} if state is TrialState.PRUNED else {},
    )
    trial.datetime_start = BEGAN
    trial.datetime_complete = ended if state.is_finished() else None
    study.add_trial(trial)


def plant(
    folder: Path, name: str = "main/sst2/lora", *, trials: int = 6, best_lr: float = 9.9e-3
) -> optuna.Study:
    """A search in ``<folder>/runs/.search/<study>.db``: complete, pruned, failed and running."""
    path = folder / "runs" / ".search" / f"{name.split('/', maxsplit=1)[0]}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.set_user_attr("facts", {"objective": "validation/accuracy"})
    complete, pruned = TrialState.COMPLETE, TrialState.PRUNED
    planted = [
        (complete, 0.70, {"lr": 1.1e-4, "rank": 4}),
        (pruned, 0.55, {"lr": 2e-4, "seconds": 20}),
        (complete, 0.91, {"lr": best_lr, "rank": 16}),
        (TrialState.FAIL, None, {"lr": 5e-3, "seconds": 5, "error": "the loss is not finite"}),
        (complete, 0.80, {"lr": 1e-3, "dropout": 0.0}),
        (TrialState.RUNNING, None, {"lr": 3e-3}),
    ]
    for state, value, options in planted[:trials]:
        add(study, state, value, **options)
    return study
