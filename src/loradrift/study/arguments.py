"""What was typed beside ``study=…``: the study's axes, and what all of its cells share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from loradrift.config import StudyConfig, UserError, check

AnyStudy = TypeVar("AnyStudy", bound=StudyConfig)

BY_ITSELF = {
    "search": ("search", "searches by itself, for each task and method", "a search alone"),
    "experiment": ("sanity", "has sanity checks of its own", "an experiment"),
}
"""Groups that a study has no use for: the phase that does the same, why, and what they are."""


def read_arguments(
    study: AnyStudy, arguments: Sequence[str], loader: ConfigLoader
) -> tuple[AnyStudy, list[str]]:
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
        if key in study.axes:
            if (name := f"study.{study.axes[key]}") in keys:
                raise UserError(f"{text} and {name} say the same: type one of them")
            varied = override.is_sweep_override()
            values = override.sweep_iterator() if varied else [override.value()]
            axes[study.axes[key]] = [
                each if isinstance(each, int) else str(each) for each in values
            ]
        elif why := _refusal(study, override, text):
            raise UserError(why)
        elif key == "study.name" or not key.startswith("study."):
            typed.append(text)
    try:
        study = replace(study, **axes)
    except UserError as error:
        raise UserError(_as_typed(str(error), study, axes)) from None
    for name in ("phases", *study.axes.values()):
        check(bool(getattr(study, name)), f"study.{name}", "a list of at least one", "[]")
    return study, typed


def _as_typed(message: str, study: StudyConfig, axes: Mapping[str, Any]) -> str:
    """A message that names ``study.tasks`` by the key that was typed: ``task``, if it was."""
    for key, name in study.axes.items():
        if name in axes:
            message = re.sub(rf"^study\.{name}\b", key, message)
    return message


def _refusal(study: StudyConfig, override: Override, text: str) -> str:
    """Why an override is of no use beside ``study=…``; empty if it is."""
    key, named = override.get_key_element(), f"study={study.name}"
    of_study = key.partition(".")[2] if key.startswith("study.") else ""
    if key in BY_ITSELF and override.value() is not None:
        phase, does, what = BY_ITSELF[key]
        why = f": {named} {does}: study.phases=[{phase}];" if phase in study.all_phases else ":"
        why += f" {what} is typed without study=…"
    elif key == "phase":
        why = ": a study says itself what a run is for: study.phases=[…]"
    elif key == "trainer.rounding":
        why = ": a study has a phase for this: study.roundings=2"
    elif key in study.own_keys:
        why = f": {named} sets {key} itself, for each of its cells"
        why += f": type {study.own_keys[key]}" * bool(study.own_keys[key])
    elif of_study in study.idle_keys:
        why = f" has no effect on {named}"
    elif override.is_sweep_override() and isinstance(getattr(study, of_study, None), list):
        why = f": a study has one {key}, a list: {key}=[{text.partition('=')[2]}]"
    elif override.is_sweep_override():
        *some, last = study.axes
        why = (
            f": {named} varies {', '.join(some)} and {last} alone; another setting is a study of "
            "its own (study.name=…)"
        )
    else:
        return ""
    return text + why
