"""``adapter_config.json``: read, and refused where it holds what PEFT never writes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.runs.model_files import ADAPTER_CONFIG
from loradrift.weights.stored import read_json

CONFIG = ADAPTER_CONFIG


def read_config(path: Path) -> dict[str, Any]:
    """Refuse values that PEFT never writes: an error names the key, the rule and the value."""
    config = read_json(path)
    if config.get("peft_type") != "LORA":
        raise UserError(f"{path}: peft_type must be LORA, got {config.get('peft_type')}")
    for key, (rule, allows) in RULES.items():
        if key in config and not allows(config[key]):
            raise UserError(f"{path}: {key} must be {rule}, got {json.dumps(config[key])[:80]}")
    for key in ("r", "lora_alpha"):
        if key not in config:
            raise UserError(f"{path}: {key} is missing")
    return config


Rule = Callable[[Any], bool]


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < value <= sys.float_info.max


def _regex(value: Any) -> bool:
    try:
        re.compile(value)
    except (TypeError, re.error):
        return False
    return isinstance(value, str)


def _names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(x, str) for x in value))


def _optional(*types: type) -> Rule:
    return lambda value: value is None or isinstance(value, types)


def _pattern(allows: Rule) -> Rule:
    return lambda value: (
        value is None
        or (isinstance(value, dict) and all(_regex(k) and allows(x) for k, x in value.items()))
    )


def _tokens(value: Any) -> bool:
    lists = value.values() if isinstance(value, dict) else [value or []]
    return all(
        isinstance(tokens, list) and all(x == 0 or _integer(x) for x in tokens) for tokens in lists
    )


PLACES = ("a list of names, or a regular expression", lambda x: _names(x) or _regex(x))
SWITCH = ("true or false", _optional(bool))
RULES: dict[str, tuple[str, Rule]] = {
    "r": ("a positive integer", _integer),
    "lora_alpha": ("a positive number", _number),
    "rank_pattern": ("an object, regular expression -> positive integer", _pattern(_integer)),
    "alpha_pattern": ("an object, regular expression -> positive number", _pattern(_number)),
    "lora_dropout": ("in [0, 1]", lambda x: x == 0 or (_number(x) and x <= 1)),
    "target_modules": PLACES,
    "exclude_modules": PLACES,
    "modules_to_save": ("a list of names", _names),
    "trainable_token_indices": ("token numbers from 0, or an object, name -> these", _tokens),
    "use_dora": SWITCH,
    "use_rslora": SWITCH,
    "fan_in_fan_out": SWITCH,
    "init_lora_weights": ("true, false or a name", _optional(bool, str)),
    "task_type": ("a name", _optional(str)),
    "base_model_name_or_path": ("a folder or hub name", _optional(str)),
}
"""Key -> rule, in words and as a test."""
