"""From what was typed to a run's configuration, and to the name of its variant."""

import hashlib
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import loradrift.methods  # registers method=…
import loradrift.tasks  # noqa: F401  registers task=…
from loradrift.config import Config, UserError, load
from loradrift.config.best_values import read_best_values
from loradrift.config.keys import typed_keys, varies
from loradrift.error_messages import one_line


def resolve_config(cfg: DictConfig, overrides: Sequence[str]) -> Config:
    """Turn the composed configuration into dataclasses, with the values that ``best`` names.

    The overrides name the variant, and take precedence over the best values.

    Raises:
        UserError: If a value is illegal; the message names key, rule and value.
    """
    name = variant(overrides)
    if cfg.best is False:
        return load(cfg, name)
    path, best = read_best_values(cfg)
    typed, merged = typed_keys(overrides), cfg.copy()
    try:
        for key, value in best.items():
            if key not in typed:
                OmegaConf.update(merged, key, value)
        return load(merged, name)
    except (OmegaConfBaseException, UserError) as error:
        raise UserError(f"{one_line(error)} (with the values of {path})") from None


def variant(overrides: Sequence[str]) -> str:
    """Name of whatever was overridden beside the cell's coordinates; part of its directory.

    It is the overrides (of a key typed twice, the last, as in Hydra) in sorted order, joined by
    commas, in characters that every file system takes. Where that loses something (a path, a very
    long name) a digest keeps it unique.
    """
    # A sweep hands on values as Hydra parsed them (2e-3 as 0.002): so must a single run.
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    typed = [f"{each.get_key_element()}={each.get_value_element_as_str()}" for each in parsed]
    last = {override.partition("=")[0]: override for override in typed if varies(override)}
    name = ",".join(sorted(map(_readable, last.values())))
    if len(name.encode()) <= 160:
        return name
    return f"{name.encode()[:140].decode(errors='ignore')}~{_digest(name)}"


def _readable(override: str) -> str:
    key, _, value = override.partition("=")
    plain = re.sub(r"[^\w.+-]", "_", value.rstrip("/").rsplit("/", maxsplit=1)[-1])
    return f"{key}={plain}" if plain == value else f"{key}={plain}~{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
