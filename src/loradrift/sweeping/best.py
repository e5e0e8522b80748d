"""The best values of a search, as a file that later runs read: ``best=true``.

The file is a mapping of overrides as they would be typed, ``task`` and ``method`` among them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loradrift.config import OBSERVERS, Config, LoraConfig, TrainedConfig, UserError, load
from loradrift.files import write_atomic
from loradrift.mistakes import one_line
from loradrift.runs.cell import flatten

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SCOPE = ("task", "method", "scale")
"""What the values hold for; a run with another is refused."""

NOT_SEARCHED = ("seed", "study", "scale", *OBSERVERS)
"""Keys that make no run better: chance, names, and where things are."""


def is_searched(key: str) -> bool:
    """Whether a key may be among what a search varies."""
    return key.partition(".")[0] not in NOT_SEARCHED


def write_best(study: "optuna.Study", results: Path) -> Path:
    """Write the best values of a search to ``<results>/search/<study>/<task>_<method>.yaml``.

    Equal trials give equal bytes.

    Args:
        study: Named ``<study>/<task>/<method>``.
        results: Folder of the results.

    Returns:
        The file.

    Raises:
        UserError: If no trial was completed.
    """
    import yaml

    best = best_trial(study)
    if best is None:
        raise UserError(f"{study.study_name}: no trial was completed, so none is best")
    name, task, method = study.study_name.split("/")
    facts = study.user_attrs.get("facts", {})
    values = {"task": task, "method": method}
    values |= {"scale": facts["scale"]} if "scale" in facts else {}
    values |= {key: _plain(key, value) for key, value in sorted(best.params.items())}
    path = _path(results, name, task, method)
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
    from loradrift.sweeping.edges import find_edges

    ended = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
    counts = Counter(trial.state.name.lower() for trial in ended)
    tally = ", ".join(f"{counts[state]} {state}" for state in sorted(counts))
    lines = [
        f"The best of the search {study.study_name}: trial {best.number}, "
        f"{objective(study)} {best.values[0]:.6g} ({tally}).",
        "best=true uses these values; a key that is typed wins.",
    ]
    lines += [f"{edge.text}; {edge.wider} is wider" for edge in find_edges(best)]
    return "".join(f"# {line}\n" for line in lines)


def _plain(key: str, value: Any) -> Any:
    """A searched value as YAML has it: choices of text are kept as they would be typed."""
    if not isinstance(value, str):
        return value
    return OverridesParser.create().parse_override(f"{key}={value}").value()


def _path(results: Path, study: str, task: str, method: str) -> Path:
    return results / "search" / study / f"{task}_{method}.yaml"


def load_with_best(cfg: DictConfig, overrides: Sequence[str], variant: str = "") -> Config:
    """Judge a composed config (:func:`loradrift.config.load`) with the values that ``best`` names.

    Args:
        cfg: The composed Hydra config.
        overrides: As typed; a key among them keeps its value.
        variant: Name of whatever else was overridden.

    Raises:
        UserError: If the file is missing, of another task, method or scale, names an unknown key,
            one that no search finds, or an illegal value; or if the method has nothing to search.
    """
    if cfg.best is False:
        return load(cfg, variant)
    path = _chosen(cfg)
    values = _read(path)
    for key in SCOPE:
        found = values.pop(key, None)
        if found not in (None, cfg[key].name):
            raise UserError(f"{path} is for {key}={found}, and the run is of {key}={cfg[key].name}")
    if not values:
        raise UserError(f"{path} holds no value that a search finds, such as method.optim.lr")
    for key in values:
        if not is_searched(key) or key.rpartition(".")[2] == "name":
            raise UserError(f"{path} holds {key}, which no search finds")
    typed = _typed_keys(overrides)
    merged = cfg.copy()
    try:
        for key, value in values.items():
            if key not in typed:
                OmegaConf.update(merged, key, value)
        return load(merged, variant)
    except (OmegaConfBaseException, UserError) as error:
        raise UserError(f"{one_line(error)} (with the values of {path})") from None


def _chosen(cfg: DictConfig) -> Path:
    """The file that ``best`` names.

    Raises:
        UserError: If it does not exist, with the command that makes it.
    """
    task, method = str(cfg.task.name), str(cfg.method.name)
    kind = OmegaConf.get_type(cfg.method)
    assert kind is not None
    given = "true" if cfg.best is True else cfg.best
    if not issubclass(kind, TrainedConfig):
        raise UserError(f"best={given} has no effect on method={method}, which does not train")
    own = _path(Path(cfg.results), str(cfg.study.name), task, method)
    path = own if cfg.best is True else Path(cfg.best)
    if not path.is_file():
        search = "lora" if issubclass(kind, LoraConfig) else "full_finetune"
        words = [f"search={search}", f"task={task}"]
        words += [f"method={method}"] if method != search else []
        words += [f"study.name={cfg.study.name}"] if cfg.study.name != "main" else []
        words += [f"scale={cfg.scale.name}"] if cfg.scale.name != "tiny" else []
        words += [f"{key}={cfg[key]}" for key in ("runs", "results") if cfg[key] != key]
        raise UserError(
            f"best={given}: there is no {path}; `python train.py {' '.join(words)} -m` makes "
            f"{'it' if path == own else own}"
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} must map keys, such as method.optim.lr, to values")
    return values


def _typed_keys(overrides: Sequence[str]) -> set[str]:
    """Every key that was typed, also inside of ``key={…}``."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {key for each in parsed for key in flatten({each.key_or_group: each.value()})}
