"""What ``adapter_config.json`` may say, of the keys that are read here or decide how PEFT loads."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loradrift.config import UserError


def check_settings(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse values that PEFT never writes.

    Raises:
        UserError: Naming the first such key, the rule and the value.
    """
    for key, (rule, holds) in RULES.items():
        if key in config and not holds(config[key]):
            got = json.dumps(config[key])
            raise UserError(f"{path}: {key} must be {rule}, got {got[:80]}")
    for key in ("r", "lora_alpha"):
        if key not in config:
            raise UserError(f"{path}: {key} is missing")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < value < math.inf and value <= sys.float_info.max


def _share(value: Any) -> bool:
    return value == 0 or (_number(value) and value <= 1)


def _regex(value: Any) -> bool:
    try:
        re.compile(value)
    except (TypeError, re.error):
        return False
    return isinstance(value, str)


def _names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(x, str) for x in value))


def _places(value: Any) -> bool:
    return _names(value) or _regex(value)


def _switch(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _pattern(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if value is None:
            return True
        return isinstance(value, dict) and all(_regex(k) and holds(v) for k, v in value.items())

    return check


PLACES = "a list of names, or a regular expression"
RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "r": ("a positive integer", _whole),
    "lora_alpha": ("a positive number", _number),
    "rank_pattern": ("an object, regular expression -> positive integer", _pattern(_whole)),
    "alpha_pattern": ("an object, regular expression -> positive number", _pattern(_number)),
    "lora_dropout": ("in [0, 1]", _share),
    "target_modules": (PLACES, _places),
    "exclude_modules": (PLACES, _places),
    "modules_to_save": ("a list of names", _names),
    "use_dora": ("true or false", _switch),
    "use_rslora": ("true or false", _switch),
    "fan_in_fan_out": ("true or false", _switch),
    "init_lora_weights": ("true, false or a name", lambda x: _switch(x) or _text(x)),
    "task_type": ("a name", _text),
    "base_model_name_or_path": ("a folder or hub name", _text),
}
"""Key -> rule, in words and as a test."""
