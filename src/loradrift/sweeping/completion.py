"""What a search has come to: trials that count, too many failures, the best values."""

from collections.abc import Sequence
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from loradrift.config import UserError
from loradrift.sweeping.best import best_trial, write_best
from loradrift.sweeping.range_boundary import find_boundary_optima
from loradrift.sweeping.recovery import was_interrupted


def settled(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count: finished, pruned, or failed by themselves. Killed ones are run again."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [trial for trial in trials if trial.state in ended or "error" in trial.user_attrs]


def check_failures(
    name: str, trials: Sequence[FrozenTrial], num_trials: int, max_failure_rate: float
) -> None:
    """Give up a search of which too many trials failed or were killed.

    ``num_trials`` is how many there are to be, of which a share may fail; those that were asked to
    stop do not count.
    """
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    errors = [trial.user_attrs["error"] for trial in failed if "error" in trial.user_attrs]
    killed = [trial for trial in failed if "error" not in trial.user_attrs]
    killed = [trial for trial in killed if not was_interrupted(trial, trials)]
    if len(killed) > 2 * num_trials:
        raise UserError(
            f"{name}: {len(killed)} trials were killed, each in the middle; is there enough memory?"
        )
    if len(errors) > max_failure_rate * num_trials:
        raise UserError(
            f"{name}: {len(errors)} trials failed, more than "
            f"hydra.sweeper.max_failure_rate={max_failure_rate} of {num_trials}; "
            f"the last: {errors[-1]}"
        )


def conclude(study: Study, results: Path) -> None:
    """Write the best values where ``best=true`` finds them, and say them (:func:`write_best`)."""
    path, best = write_best(study, results), best_trial(study)
    assert best is not None
    values = " ".join(f"{key}={value}" for key, value in best.params.items())
    print(f"search {study.study_name}: best {best.value:.4f} in trial {best.number}: {values}")
    print(f"best=true uses these values: {path}", flush=True)
    for edge in find_boundary_optima(best):
        print(f"  {edge.text}: search a wider range", flush=True)
