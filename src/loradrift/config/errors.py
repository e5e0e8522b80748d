"""The user's mistakes: one class, one checker."""


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
