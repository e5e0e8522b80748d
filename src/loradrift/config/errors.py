"""The user's mistakes: one class, one checker."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """A mistake that the user can fix; its message is one line and says how."""

    exit_code = 1
    """Exit code of the command that it ends."""


def check(legal: bool, key: str, rule: str, value: object) -> None:
    """Refuse a value, naming its key as typed.

    Raises:
        UserError: Unless ``legal``.
    """
    if not legal:
        raise UserError(f"{key} must be {rule}, got {value}")


def refuse_extras(values: Any, prefix: str) -> None:
    """Refuse what ``+key=value`` added beside the schema: it would have no effect.

    Raises:
        UserError: Naming the key and the nearest legal one.
    """
    known = {field.name for field in fields(values)}
    for name, value in vars(values).items():
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f". Did you mean: {prefix}{nearest[0]}?" if nearest else ""
            raise UserError(f"+{prefix}{name}: there is no such key{hint}")
        if is_dataclass(value):
            refuse_extras(value, f"{prefix}{name}.")
