"""The best values of a search, as a file that later runs read: ``best=true``.

The file is a mapping of overrides as they would be typed, ``task`` and ``method`` among them.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from loradrift.config import UserError
from loradrift.config.best_values import best_file
from loradrift.files import write_atomic

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class NothingCompletedError(UserError):
    """A search has come to its end without a best trial."""


def write_best(study: "optuna.Study", results: Path) -> Path:
    """Write the best values of a search to ``<results>/search/<study>/<task>_<method>.yaml``.

    Equal trials give equal bytes. The search is named ``<study>/<task>/<method>``.

    Raises:
        NothingCompletedError: If no trial was completed.
    """
    import yaml

    best = best_trial(study)
    if best is None:
        trials = study.get_trials(deepcopy=False)
        errors = [trial.user_attrs["error"] for trial in trials if "error" in trial.user_attrs]
        why = f"the last error: {errors[-1]}" if errors else "all were pruned"
        raise NothingCompletedError(f"{study.study_name}: no trial was completed; {why}")
    name, task, method = study.study_name.split("/")
    facts = study.user_attrs.get("facts", {})
    values = {"task": task, "method": method}
    values |= {"scale": facts["scale"]} if "scale" in facts else {}
    values |= {key: _plain(key, value) for key, value in sorted(best.params.items())}
    path = best_file(results, name, task, method)
    with write_atomic(path) as temporary:
        text = yaml.safe_dump(values, sort_keys=False)
        temporary.write_text(_header(study, best) + text, encoding="utf-8")
    return path


def best_trial(study: "optuna.Study") -> "FrozenTrial | None":
    """The completed trial with the best value, the first of equal ones; None if there is none."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if study.direction is StudyDirection.MINIMIZE else -1
    return min(completed, key=lambda trial: (sign * trial.values[0], trial.number), default=None)


def objective(study: "optuna.Study") -> str:
    """What was searched for, such as ``validation/accuracy``."""
    return str(study.user_attrs.get("facts", {}).get("objective", "objective"))


def _header(study: "optuna.Study", best: "FrozenTrial") -> str:
    from loradrift.sweeping.range_boundary import find_boundary_optima

    ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
    counts = Counter(trial.state.name.lower() for trial in ended)
    tally = ", ".join(f"{counts[state]} {state}" for state in sorted(counts))
    lines = [
        f"The best of the search {study.study_name}: trial {best.number}, "
        f"{objective(study)} {best.values[0]:.6g} ({tally}).",
        "best=true uses these values; explicit overrides take precedence.",
    ]
    lines += [edge.text for edge in find_boundary_optima(best)]
    return "".join(f"# {line}\n" for line in lines)


def _plain(key: str, value: Any) -> Any:
    """A searched value as YAML has it: choices of text are kept as they would be typed."""
    if not isinstance(value, str):
        return value
    return OverridesParser.create().parse_override(f"{key}={value}").value()
