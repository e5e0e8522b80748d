"""A file with the best values of a search, which later runs read: ``best=true``.

The file is a mapping of overrides as they would be typed, ``task`` and ``method`` among them.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from loradrift.config import OBSERVERS, LoraConfig, TrainedConfig, UserError
from loradrift.config.errors import excerpt
from loradrift.config.values import expand_path

SCOPE = ("task", "method", "scale")
"""What the values hold for; a run with another is refused."""

NOT_SEARCHED = ("seed", "study", "scale", *OBSERVERS)
"""Keys that make no run better: chance, names, and where things are."""


def is_searched(key: str) -> bool:
    """Whether a key may be among what a search varies."""
    return key.partition(".")[0] not in NOT_SEARCHED


def read_best_values(cfg: DictConfig) -> tuple[Path, dict[str, Any]]:
    """The file that ``best`` names, and the values in it.

    Raises:
        UserError: If the file is missing, is for another task, method or scale, or names a key that
            no search finds; or if the method has nothing to search.
    """
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
    return path, values


def best_file(results: Path, study: str, task: str, method: str) -> Path:
    """Where a search's best values are written."""
    return results / "search" / study / f"{task}_{method}.yaml"


def _chosen(cfg: DictConfig) -> Path:
    """The file that ``best`` names; where there is none, an error says what makes it."""
    task, method = str(cfg.task.name), str(cfg.method.name)
    kind = OmegaConf.get_type(cfg.method)
    assert kind is not None
    given = "true" if cfg.best is True else cfg.best
    if not issubclass(kind, TrainedConfig):
        raise UserError(f"best={given} has no effect on method={method}, which does not train")
    results = Path(expand_path("results", cfg.results))
    own = best_file(results, str(cfg.study.name), task, method)
    path = own if cfg.best is True else Path(expand_path("best", cfg.best))
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
        raise UserError(f"{path} is no YAML: {excerpt(' '.join(str(error).split()))}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} must map keys, such as method.optim.lr, to values")
    return values
