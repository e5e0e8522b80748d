"""What may be searched, and what a search draws."""

import optuna
import pytest
from front_doors import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from loradrift.config import UserError
from loradrift.sweeping.options import make_sampler, sampler_of_trial
from loradrift.sweeping.space import quoted, read_space, validate_space, validate_values


def test_the_last_of_a_key_counts_and_a_range_from_high_to_low_is_named():
    space, fixed, extra = read_space(["a=choice(1,2)", "b=3", "a=choice(4,5)", "b=6", "~c"])
    assert (space["a"].choices, fixed, extra) == ((4, 5), {"b": "6"}, ["~c"])
    with pytest.raises(UserError, match=r"^lr=interval\(1e-2,1e-5\) cannot be searched: "):
        read_space(["rank=choice(4,8)", "lr=interval(1e-2,1e-5)"])


@pytest.mark.parametrize("key", ["seed", "study.name", "runs", "best", "search.pruner"])
def test_chance_and_names_make_no_run_better(key):
    with pytest.raises(UserError, match=rf"^{key} cannot be searched: a search has one {key}"):
        validate_space(["method.rank", key])


def test_a_search_of_what_is_illegal_by_itself_does_not_begin(load):
    for searched, message in (
        ("method.rnak=choice(4,8)", "Could not override 'method.rnak'"),
        ("method.rank=interval(4,8)", "Error merging override method.rank=4.0"),
        ("method.dropout=interval(0.5,3)", r"method.dropout must be in \[0, 1\), got 3.0"),
        ("method.dropout=interval(-1,0.5)", r"method.dropout must be in \[0, 1\), got -1.0"),
        ("trainer.precision=choice(32-true,33-true)", "trainer.precision must be .*got 33-true"),
    ):
        space, _, _ = read_space([searched, "task.batch_size=range(4,16)"])
        with pytest.raises((UserError, ConfigCompositionException), match=message):
            validate_values(space, lambda typed: load(*typed))


def test_values_that_are_illegal_only_together_are_trials():
    both = ("task.max_length", "model.max_positions")
    space, _, _ = read_space([f"{key}=choice(64,512)" for key in both])

    def compose(typed):
        if set(typed) >= {f"{key}=512" for key in both}:
            raise UserError("both")

    validate_values(space, compose)


def test_a_quoted_text_is_read_as_it_was():
    for text in ("it's", "plain", "a,b={c}", "sqlite:////a b/c.db"):
        override = OverridesParser.create().parse_override(f"key={quoted(text)}")
        assert override.value() == text


def test_an_option_that_a_sampler_does_not_take():
    for option, value, message in (
        ("foo", 1, "sampler: .*'foo'"),
        ("n_startup_trials", -3, "sampler.n_startup_trials must be 0 or more, got -3"),
    ):
        sampler = {"_target_": "optuna.samplers.TPESampler", "seed": 42, option: value}
        with pytest.raises(UserError, match=f"hydra.sweeper.{message}"):
            sampler_of_trial(OmegaConf.create(sampler), 0)


@pytest.mark.usefixtures("load")  # which registers the schemas
@pytest.mark.parametrize("name", ["lora", "full_finetune"])
def test_a_default_search_learns_from_its_trials(name):
    """Of its ten trials some are drawn from what the others came to: it is no random search."""
    search = options_of(name)
    assert search.n_trials == 10
    up, down = (drawn(search.sampler, search.n_trials, sign) for sign in (1, -1))
    assert up[:4] == down[:4]
    assert all(one != other for one, other in zip(up[5:], down[5:], strict=True))
    assert sum(up[5:]) / 5 > sum(down[5:]) / 5


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("sampler", ["random", "qmc", "nsgaii", "grid"])
def test_a_search_takes_another_sampler(sampler):
    options = options_of("lora", f"hydra/sweeper/sampler={sampler}").sampler
    if sampler == "grid":  # whose choices are the space's
        assert make_sampler(options)({"lr": [1, 2]})
    else:
        assert sampler_of_trial(options, 3)


def options_of(name, *overrides):
    cfg = composed(f"search={name}", *overrides, return_hydra_config=True)
    return OmegaConf.create(OmegaConf.to_container(cfg.hydra.sweeper, resolve=False))


def drawn(sampler, number, sign):
    """Values of a parameter of which more is better, or less."""
    study = optuna.create_study(direction="maximize")
    values = []
    for index in range(number):
        study.sampler = sampler_of_trial(sampler, index)
        trial = study.ask()
        values.append(trial.suggest_float("lr", 0, 1))
        study.tell(trial, sign * values[-1])
    return values
