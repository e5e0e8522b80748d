"""What a search varies, as it was typed; and whether a search is still the one it began as."""

import math
from collections.abc import Callable, Iterable, Sequence
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
    distribution_to_json,
    json_to_distribution,
)
from optuna.study import Study

from loradrift.config import Config, UserError, identity
from loradrift.config.best_values import is_searched
from loradrift.config.keys import changes, defaults, flatten
from loradrift.sweeping.range_boundary import typed

Space = dict[str, BaseDistribution]
"""The range of each key that is varied."""


def read_space(overrides: Sequence[str]) -> tuple[Space, dict[str, str], list[str]]:
    """What is varied, what is fixed, and overrides that delete a key; the last of each key counts.

    Raises:
        UserError: If a range is empty or cannot be read; names it.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    last = list({each.get_key_element(): str(each.input_line) for each in parsed}.values())
    for each in last:
        try:
            create_params_from_overrides([each])
        except (ValueError, AssertionError, OverflowError) as error:
            raise UserError(f"{each} cannot be searched: {error}") from error
    space, fixed, extra = create_params_from_overrides(last)
    for key, range_ in space.items():
        if isinstance(range_, FloatDistribution) and not math.isfinite(range_.low + range_.high):
            raise UserError(f"{key} cannot be searched from {range_.low} to {range_.high}")
    return space, fixed, extra


def validate_space(keys: Iterable[str]) -> None:
    """Refuse a search that varies nothing, or what no run can be better by."""
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


def validate_values(space: Space, compose: Callable[[Sequence[str]], object]) -> None:
    """Refuse a search for a key that there is not, or with values that are illegal by themselves.

    ``compose`` judges overrides: what it raises names the key.
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


def check_same(study: Study, url: str, config: Config, space: Space) -> None:
    """Refuse to go on with a search that was created with different settings, or note them.

    ``config`` is that of a trial before anything is varied. Two searches are the same if they vary
    the same, and all else agrees.
    """
    varied = tuple(f"{key}." for key in ("study", *space))
    fixed = flatten(identity(config)).items()
    facts = {key: str(value) for key, value in fixed if not f"{key}.".startswith(varied)}
    facts |= {key: distribution_to_json(each) for key, each in space.items()}
    facts |= {"objective": f"validation/{config.task.metric}", "scale": config.scale.name}
    if not study.get_trials(deepcopy=False):
        study.set_user_attr("facts", facts)
        return
    known = {key: str(value) for key, value in flatten(defaults(config)).items()}
    if differing := changes(study.user_attrs.get("facts", {}), facts, known, _readable):
        raise UserError(
            f"{study.study_name} in {url} was created with different settings: "
            f"{'; '.join(differing)}; study.name=<another name> begins a search of its own"
        )


def _readable(fact: str) -> str:
    is_range = fact.startswith('{"name": ')  # as Optuna writes one
    return typed(json_to_distribution(fact)) if is_range else fact


def quoted(text: str) -> str:
    """A text as it is typed, whatever its characters."""
    return "'{}'".format(text.replace("'", "\\'"))


def choices(distribution: BaseDistribution) -> tuple[str, ...]:
    """The values of an axis, as typed."""
    assert isinstance(distribution, CategoricalDistribution)
    return tuple(map(str, distribution.choices))
