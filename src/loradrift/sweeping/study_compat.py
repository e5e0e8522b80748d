"""Check that a search is the one that was created under its name."""

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.study import Study

from loradrift.config import Config, UserError, identity
from loradrift.config.keys import changes, defaults, flatten
from loradrift.sweeping.range_boundary import typed


def has_trials(storage: RDBStorage, name: str) -> bool:
    """Whether a search has begun."""
    known = [study for study in storage.get_all_studies() if study.study_name == name]
    return bool(known) and storage.get_n_trials(known[0]._study_id) > 0


def begin(storage: RDBStorage, name: str, direction: str) -> Study:
    """The study, made if there is none.

    Raises:
        UserError: If it was created with the other direction.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="minimize" if direction == "minimize" else "maximize",
        load_if_exists=True,
    )
    if study.direction.name.lower() != direction:
        raise UserError(
            f"{name} was created to {study.direction.name.lower()}, and now is to {direction}"
        )
    return study


def search_facts(config: Config, space: dict[str, BaseDistribution]) -> dict[str, str]:
    """What makes two searches the same, by name: what is varied, and all that is not.

    Args:
        config: Of a trial, before anything is varied.
        space: What is varied.
    """
    varied = tuple(f"{key}." for key in ("study", *space))
    fixed = flatten(identity(config)).items()
    facts = {key: str(value) for key, value in fixed if not f"{key}.".startswith(varied)}
    facts |= {key: distribution_to_json(each) for key, each in space.items()}
    return facts | {
        "objective": f"validation/{config.task.metric}",
        "scale": config.scale.name,
    }


def check_same(study: Study, url: str, config: Config, space: dict[str, BaseDistribution]) -> None:
    """Refuse to go on with a study that was created with different settings; note it in a new one.

    Args:
        study: The search.
        url: Its storage.
        config: Of a trial, before anything is varied.
        space: What is varied.

    Raises:
        UserError: Saying what differs.
    """
    facts = search_facts(config, space)
    if not study.get_trials(deepcopy=False):
        study.set_user_attr("facts", facts)
        return
    known = {key: str(value) for key, value in flatten(defaults(config)).items()}
    if differing := changes(study.user_attrs.get("facts", {}), facts, known, _readable):
        raise UserError(
            f"{study.study_name} in {url} was created with different settings: "
            f"{'; '.join(differing)}; "
            "study.name=<another name> begins a search of its own"
        )


def _readable(fact: str) -> str:
    is_range = fact.startswith('{"name": ')  # as Optuna writes one
    return typed(json_to_distribution(fact)) if is_range else fact
