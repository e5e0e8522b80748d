"""Keys as they are typed: ``method.optim.lr``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

OBSERVERS = (
    "variant", "earlier_variant", "phase", "logger", "search", "runs", "results", "cache", "best",
    "force", "judge",
)  # fmt: skip
"""Keys that change where and how a run is watched, or who judges its answers, never what it
computes, and ``best``: what it names is in the values themselves."""


def identity(config: Any) -> dict[str, Any]:
    """What makes two runs the same: a run's configuration without :data:`OBSERVERS`.

    Of the study its name alone: a run does not depend on which others there are. Of a start its
    place in the chain and its weights, wherever their folder is.
    """
    values = asdict(config) | {"study": {"name": config.study.name}}
    start = values.pop("start")
    if start:
        values["start"] = {key: start[key] for key in ("chain", "weights") if key in start}
    return {key: value for key, value in values.items() if key not in OBSERVERS}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
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


RUN = ("study", "task", "method", "seed")
"""The coordinates of a run, which have folders of their own."""


SERVER = ("serving.server.port", "serving.server.start_timeout_s")
"""Keys of a server's start, which change no figure: a cell goes on with another limit."""


def varies(override: str, coordinates: Sequence[str] = RUN) -> bool:
    """Whether an override is part of a cell's variant, beside its coordinates."""
    key = override.partition("=")[0].lstrip("+~")
    if key == "best":  # a run with a search's best values is another than one without
        return override.lower() != "best=false"
    first = key.partition(".")[0]
    return key not in (*coordinates, *SERVER) and first not in ("study", "hydra", *OBSERVERS)


def defaults(values: Any) -> dict[str, Any]:
    """The defaults of a configuration's dataclass; a field that has none is left out."""
    tree: dict[str, Any] = {}
    for field in fields(values):
        value = getattr(values, field.name)
        made = field.default if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(value):
            tree[field.name] = defaults(value)
            if is_dataclass(made) and type(made) is type(value):
                own = asdict(made)  # type: ignore[arg-type]
                tree[field.name] |= {k: x for k, x in own.items() if x not in (MISSING, "???")}
        elif made not in (MISSING, "???"):  # OmegaConf's word for a value that has to be given
            tree[field.name] = made
    return tree


def changes(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    defaults: Mapping[str, Any],
    show: Callable[[Any], str] = str,
) -> list[str]:
    """``key: old -> new`` for each value that differs; ``show`` gives a value as text.

    A key that ``before`` lacks means the default, which reproduces what was done before there was
    such a key. Each mapping is a tree, or flat.
    """
    old, new, known = flatten(before), flatten(now), flatten(defaults)
    old |= {key: known[key] for key in new.keys() & known.keys() - old.keys()}
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]

    def text(values: Mapping[str, Any], key: str) -> str:
        return show(values[key]) if key in values else "(absent)"

    return [f"{key}: {text(old, key)} -> {text(new, key)}" for key in keys]
