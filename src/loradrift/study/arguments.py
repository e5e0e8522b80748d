"""What was typed beside ``study=…``: the study's axes, and what all of its cells share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser

from loradrift.config import StudyConfig, UserError, check

AXES = {"task": "tasks", "method": "methods", "seed": "seeds"}
"""Keys whose values the study varies, and what it calls them."""

LISTS = ("study.phases", *(f"study.{axis}" for axis in AXES.values()))

BY_ITSELF = {
    "search": "searches by itself, for each task and method: study.phases=[search]; a search alone",
    "experiment": "has sanity checks of its own: study.phases=[sanity]; an experiment",
}
"""Groups that a study has no use for, and why."""


def read_arguments(
    study: StudyConfig, arguments: Sequence[str], loader: ConfigLoader
) -> tuple[StudyConfig, list[str]]:
    """The study with the axes that were typed as for any multirun, and all other overrides.

    ``task=sst2,rte`` is the same as ``study.tasks=[sst2,rte]``; the loader knows what
    ``task=glob(…)`` stands for. An axis that is empty or typed in both ways is refused, and what no
    study varies or searches.
    """
    typed: list[str] = []
    axes: dict[str, Any] = {}
    parsed = OverridesParser.create(loader).parse_overrides(list(arguments))
    keys = {override.get_key_element() for override in parsed}
    for override, text in zip(parsed, arguments, strict=True):
        key = override.get_key_element()
        if key in AXES:
            if (name := f"study.{AXES[key]}") in keys:
                raise UserError(f"{text} and {name} say the same: type one of them")
            varied = override.is_sweep_override()
            values = override.sweep_iterator() if varied else [override.value()]
            axes[AXES[key]] = [each if isinstance(each, int) else str(each) for each in values]
        elif key in BY_ITSELF and override.value() is not None:
            why = f"study={study.name} {BY_ITSELF[key]} is typed without study=…"
            raise UserError(f"{text}: {why}")
        elif key == "phase":
            raise UserError(f"{text}: a study says itself what a run is for: study.phases=[…]")
        elif key == "trainer.rounding":
            raise UserError(f"{text}: a study has a phase for this: study.roundings=2")
        elif override.is_sweep_override() and key in LISTS:
            listed = f"{key}=[{text.partition('=')[2]}]"
            raise UserError(f"{text}: a study has one {key}, a list: {listed}")
        elif override.is_sweep_override():
            raise UserError(
                f"{text}: study={study.name} varies task, method and seed alone; another setting "
                "is a study of its own (study.name=…)"
            )
        elif key == "study.name" or not key.startswith("study."):
            typed.append(text)
    study = replace(study, **axes)
    for name in ("phases", *AXES.values()):
        check(bool(getattr(study, name)), f"study.{name}", "a list of at least one", "[]")
    return study, typed
