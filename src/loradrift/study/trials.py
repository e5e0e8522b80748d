"""What the trials of a study's searches may be, before they are drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loradrift.cli import judge
from loradrift.config import Config
from loradrift.study.cells import key_of, without
from loradrift.study.program import Program

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def search_arguments(typed: Sequence[str], task: str, method: str) -> list[str]:
    """The overrides of one search of a study.

    Args:
        typed: What its cells share.
        task: What it searches for,
        method: and with.
    """
    space = "full_finetune" if method == "full_finetune" else "lora"
    return [*without(typed, "best"), f"search={space}", f"task={task}", f"method={method}"]


def largest_trial(program: Program, arguments: Sequence[str]) -> Config:
    """The configuration of a trial with every range at its upper end: it needs the most disk.

    Args:
        program: Composes the configurations.
        arguments: The search's; a key among them is not varied.

    Raises:
        UserError: If a value is illegal.
    """
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    typed = set(map(key_of, arguments))
    search = program.as_search(arguments)
    ranges = search.config.hydra.sweeper.params or {}
    searched = [f"{key}={value}" for key, value in ranges.items() if key not in typed]
    space, _, _ = create_params_from_overrides(searched)
    ends = [f"{key}={end}" for key, each in space.items() if (end := _end(each)) is not None]
    overrides = [*arguments, *ends]
    return judge(search.compose(overrides), overrides)


def _end(space: "BaseDistribution") -> int | float | None:
    """The upper end of a range; None of choices that have no order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, CategoricalDistribution):
        numbers = [each for each in space.choices if isinstance(each, int | float)]
        return max(numbers) if len(numbers) == len(space.choices) else None
    assert isinstance(space, FloatDistribution | IntDistribution)
    return space.high
