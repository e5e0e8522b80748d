"""The user's mistakes: one class, and the checks that raise it."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from loradrift.files import is_lfs_pointer


class UserError(ValueError):
    """A mistake that the user can fix; its message is one line and says how."""

    exit_code = 1
    """Exit code of the command that it ends."""


EXCERPT = 100
"""Most characters of a value in a message."""


def excerpt(value: object) -> str:
    r"""A value as messages quote it: in one line, and of a long one the beginning.

    >>> excerpt("one\ttwo")
    'one\\ttwo'
    """
    text = str(value)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:EXCERPT])
    return shown if len(text) <= EXCERPT else f"{shown}…"


def check(legal: bool, key: str, rule: str, value: object) -> None:
    """Raise a UserError that names the key as typed, unless the value is legal."""
    if not legal:
        raise UserError(f"{key} must be {rule}, got {excerpt(value)}")


def refuse_pointer(path: Path, where: str = "") -> None:
    """Raise a UserError if git-lfs has not fetched a file; ``where`` begins the message."""
    if is_lfs_pointer(path):
        raise UserError(
            f"{where}{path} is a git-lfs pointer, not the file itself: `git lfs pull` in its "
            "repository fetches it"
        )


def check_positive(config: object, prefix: str, *names: str) -> None:
    """Refuse fields of ``config`` that are not above 0; None is legal."""
    for name in names:
        value = getattr(config, name)
        check(value is None or value > 0, f"{prefix}.{name}", "positive", value)


def check_option(config: object, key: str, *options: str) -> None:
    """Refuse a field of ``config`` that is none of the options."""
    value = getattr(config, key.rpartition(".")[2])
    check(value in options, key, " or ".join(options), value)


def one_of(names: Iterable[str]) -> str:
    """``a``, or ``one of a, b``, in a message."""
    names = list(names)
    return ("one of " if len(names) > 1 else "") + ", ".join(names)


def refuse_extras(values: Any, prefix: str) -> None:
    """Refuse what ``+key=value`` added beside the schema: it would have no effect."""
    known = {field.name for field in fields(values)}
    for name, value in vars(values).items():
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f". Did you mean: {prefix}{nearest[0]}?" if nearest else ""
            raise UserError(f"+{prefix}{name}: there is no such key{hint}")
        if is_dataclass(value):
            refuse_extras(value, f"{prefix}{name}.")


def refuse_missing(cfg: DictConfig, chosen: str, prefix: str = "") -> None:
    """Raise a UserError if a composed config lacks a value that ``chosen`` needs to be typed.

    It names the key, and what the field's ``kind`` says of the value; of ``model=…`` too.
    """
    for each in fields(OmegaConf.get_type(cfg)):  # type: ignore[arg-type]
        if "kind" in each.metadata and OmegaConf.is_missing(cfg, each.name):
            raise UserError(f"{chosen} needs {prefix}{each.name}=<{each.metadata['kind']}>")
    model = cfg.model if "model" in cfg else None  # one that is missing is not in it
    if isinstance(model, DictConfig):
        refuse_missing(model, f"model={model.get('name')}", "model.")
