"""From what was typed to a run's configuration."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import loradrift.methods  # registers method=…
import loradrift.tasks  # noqa: F401  registers task=…
from loradrift.config import Config, UserError, load
from loradrift.config.best_values import read_best_values
from loradrift.config.keys import typed_keys
from loradrift.error_messages import one_line
from loradrift.runs.starts import start_at_run


def resolve_config(cfg: DictConfig, overrides: Sequence[str]) -> Config:
    """Turn the composed configuration into dataclasses, with the values that ``best`` names.

    The overrides name the variant, and take precedence over the best values. Where ``model.path``
    is a run, the run starts from its model.

    Raises:
        UserError: If a value is illegal; the message names key, rule and value.
    """
    return start_at_run(_with_best_values(cfg, overrides), overrides)


def _with_best_values(cfg: DictConfig, overrides: Sequence[str]) -> Config:
    if cfg.best is False:
        return load(cfg, overrides)
    path, best = read_best_values(cfg)
    typed, merged = typed_keys(overrides), cfg.copy()
    try:
        for key, value in best.items():
            if key not in typed:
                OmegaConf.update(merged, key, value)
        return load(merged, overrides)
    except (OmegaConfBaseException, UserError) as error:
        raise UserError(f"{one_line(error)} (with the values of {path})") from None
