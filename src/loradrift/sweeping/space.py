"""What a search varies, as it was typed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from loradrift.config import UserError
from loradrift.config.best_values import is_searched


def read_space(
    overrides: Sequence[str],
) -> tuple[dict[str, BaseDistribution], dict[str, str], list[str]]:
    """What is varied, what is fixed, and overrides that delete a key.

    Args:
        overrides: As typed; the last of each key counts.

    Raises:
        UserError: If a range is empty or cannot be read; names it.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    last = list({each.get_key_element(): str(each.input_line) for each in parsed}.values())
    for each in last:
        try:
            create_params_from_overrides([each])
        except (ValueError, AssertionError) as error:
            raise UserError(f"{each} cannot be searched: {error}") from error
    space, fixed, extra = create_params_from_overrides(last)
    return space, fixed, extra


def validate_space(keys: Iterable[str]) -> None:
    """Refuse a search that varies nothing, or what no run can be better by.

    Args:
        keys: What is varied within one study.

    Raises:
        UserError: Naming the key.
    """
    keys = sorted(keys)
    if not keys:
        raise UserError(
            "hydra/sweeper=loradrift_optuna needs a range to search: those of search=lora, or "
            "such as method.optim.lr='tag(log,interval(1e-5,1e-3))'"
        )
    for key in keys:
        if not is_searched(key):
            raise UserError(
                f"{key} cannot be searched: a search has one {key}, and best=true -m {key}=… runs "
                "what it has found with several"
            )


def validate_values(
    space: Mapping[str, BaseDistribution], compose: Callable[[Sequence[str]], object]
) -> None:
    """Refuse a search for a key that there is not, or with values that are illegal by themselves.

    Args:
        space: What is varied.
        compose: Judges overrides.

    Raises:
        UserError: Naming the key; or what Hydra raises.
    """
    samples = {key: _samples(each) for key, each in space.items()}
    for row in range(max(map(len, samples.values()))):
        typed = [f"{key}={values[row % len(values)]}" for key, values in samples.items()]
        try:
            compose(typed)
        except (UserError, HydraException, OmegaConfBaseException):
            for override in typed:  # one of them, or only all together: those are trials that fail
                compose([override])


def _samples(distribution: BaseDistribution) -> list[Any]:
    """The ends of a range and a value between them; every choice."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    between = low + 0.618 * (high - low)
    return [low, high, int(between) if isinstance(distribution, IntDistribution) else between]


def quoted(text: str) -> str:
    """A text as it is typed, whatever its characters."""
    return "'{}'".format(text.replace("'", "\\'"))


def choices(distribution: BaseDistribution) -> tuple[str, ...]:
    """The values of an axis, as typed."""
    assert isinstance(distribution, CategoricalDistribution)
    return tuple(map(str, distribution.choices))
