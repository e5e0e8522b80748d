"""The arm that all others are compared with."""

import re
from collections.abc import Sequence

from loradrift.config import UserError


def chosen_baseline(name: str, arms: Sequence[str], lost: Sequence[str] = ()) -> str:
    """The arm of that name, or the only one of that method.

    ``lost`` says of runs why they are in no chain.

    Raises:
        UserError: If there is none, with the first line of ``lost`` on it, or several.

    >>> chosen_baseline("lora", ["full_finetune", "lora_r8"])
    'lora_r8'
    """
    there = sorted(set(arms))
    fitting = [arm for arm in there if name in (arm, _method(arm))]
    if name in fitting:
        return name
    if len(fitting) != 1:
        which = "several arms are" if fitting else "no whole chain is of this arm, the arms are"
        own = [line for line in lost if not fitting and _is_on(name, line)]
        why = f" ({own[0]})" if own else ""
        raise UserError(f"baseline={name}: {which} {', '.join(fitting or there) or 'none'}{why}")
    return fitting[0]


def _method(arm: str) -> str:
    """``lora`` of ``lora_r8``; empty without a rank."""
    return arm.rpartition("_r")[0]


def _is_on(name: str, line: str) -> bool:
    """Whether a line is on an arm: it has the arm, or a folder of the arm's method.

    >>> lines = ("seed=1 lora_r8: no whole chain", "rte/lora,after=x/seed=1: failed", "dora: x")
    >>> [[_is_on(name, line) for line in lines] for name in ("lora", "lora_r8", "full_finetune")]
    [[True, True, False], [True, True, False], [False, False, False]]
    """
    names = "|".join(re.escape(each) for each in (name, _method(name)) if each)
    return re.search(rf"(?<![\w.])({names})(?=[\s,/:]|_r\d)", line) is not None
