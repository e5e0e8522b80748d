"""Keys as they are typed: ``method.optim.lr``."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def typed_keys(overrides: Sequence[str]) -> set[str]:
    """Every key that was typed, also inside of ``key={…}``."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {key for each in parsed for key in flatten({each.key_or_group: each.value()})}
