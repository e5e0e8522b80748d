"""Any error as one line that names the key as typed and suggests the nearest legal one."""

import os
import re
import sys
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loradrift.config import Config, UserError, option_schemas
from loradrift.config.benchmarks import BENCHMARKS
from loradrift.config.errors import excerpt

KINDS = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false"}
"""What OmegaConf calls a type, and what a value of it is."""

LISTED = {"Integer": "integers", "Float": "numbers"}
"""The same of the values of a list."""

FOLDERS = ("runs", "results", "cache")
"""Keys of folders that are written, and made where they are not there yet."""

OF_WRONG_KIND = re.compile(
    r"Error merging override (\S+?)=(.*?) "
    r"(?:Value '.*' .*could not be converted to (\w+)|Invalid value assigned: .* is not a ListConf)"
)

OF_A_GROUP = re.compile(
    r"Error merging override (hydra\.\S+?)=(\w+) Invalid type assigned: str is not"
)

UNREADABLE = re.compile(r"Error when parsing index: \d+, string: (.*?) out of \[")


def one_line(error: BaseException) -> str:
    """What went wrong, in one line, as the user should read it."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _unknown_option(error.missing_cfg_file or "", list(error.options))
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _configuration(error)
    if isinstance(error, OSError) and (place := _place(error)):
        return place
    first = str(error).strip().split("\n")[0]
    if isinstance(error, UserError) or type(error).__name__ == "JobFailed":
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _place(error: OSError) -> str | None:
    """A file or folder that cannot be made, in words of the key that it was typed for."""
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        folder = os.path.abspath(os.path.expanduser(value.strip("'\"")))
        within = os.path.join(os.path.abspath(str(error.filename or "")), "")
        if key.rpartition(".")[2] in FOLDERS and within.startswith(os.path.join(folder, "")):
            reason = f"{error.strerror}: {excerpt(error.filename)}"
            rule = "a folder that can be made and written"
            return f"{key} must be {rule}, got {excerpt(value)} ({reason})"
    return None


def _unknown_option(config: str, options: list[str]) -> str:
    group, _, typed = config.rpartition("/")
    nearest = get_close_matches(typed, options, n=1)
    hint = f" Did you mean: {group}={nearest[0]}?" if nearest else ""
    return f"{group}={typed}: no such option.{hint} There are: {', '.join(options)}"


def _configuration(error: BaseException) -> str:
    """Hydra's message and its cause in one line, with a suggestion for an unknown key."""
    lines = str(error).split("\n")
    cause = str(error.__cause__).split("\n") if error.__cause__ else []
    keys = [line.partition(":")[2].strip() for line in (*lines, *cause) if "full_key:" in line]
    text = " ".join([lines[0], *cause[:1]])
    if keys and keys[0] not in text:
        text = f"{keys[0]}: {text}"
    if better := _better_said(text):
        return better
    if "Could not override" not in text or "Did you mean" in text or not keys:
        return text
    analyses = _analyses()
    if owners := [name for name, own in analyses.items() if keys[0] in own]:
        chosen = [each for each in sys.argv if each.startswith("analysis=")]
        other = chosen[-1] if chosen else "the default analysis"
        return f"{keys[0]} is a key of analysis={', '.join(owners)}, not of {other}"
    last = keys[0].rpartition(".")[2]
    known = sorted({*option_keys(), *(key for own in analyses.values() for key in own)})
    if "." in keys[0] and keys[0] in known:
        return f"{text}. Another option of {keys[0].partition('.')[0]}= has that key"
    others = [key for key in known if key != keys[0]]  # one of train.py, typed to analyze.py
    same = [key for key in others if key.rpartition(".")[2] == last]
    shallow = sorted(same, key=lambda key: key.count("."))[:2]
    nearest = shallow or get_close_matches(keys[0], others, n=1)
    return f"{text}. Did you mean: {' or '.join(nearest)}?" if nearest else text


def _better_said(text: str) -> str | None:
    """Hydra's message in the words of what was typed; None where it is clear as it is."""
    if typed := OF_WRONG_KIND.search(text):
        return _of_wrong_kind(*typed.groups())
    if group := OF_A_GROUP.match(text):
        key, value = group.groups()
        return f"{key}={value}: an option is chosen by {key.replace('.', '/')}={value}"
    if text.startswith("Could not override 'hydra.launcher.") and "BasicLauncherConf" in text:
        return f"{text}. hydra/launcher=joblib, submitit_local and submitit_slurm have settings"
    if unreadable := UNREADABLE.match(text):
        return _unreadable(unreadable[1])
    if text.startswith("Ambiguous value"):
        return f"{text}: several values are a sweep, and need -m"
    return _of_another_benchmark(text)


def _of_wrong_kind(key: str, value: str, kind: str | None) -> str:
    """The rule for a value that is of another type, or in a list of such; None needs a list."""
    if value.startswith("[") and kind in LISTED:
        got = re.sub(r"[\[\]'\"]", "", value)
        return f"{key} must be a list of {LISTED[kind]}, as 1,2,4, got {got}"
    rule = "a list, as [one,two]" if kind is None else KINDS.get(kind, kind)
    return f"{key} must be {rule}, got {value}"


def _of_another_benchmark(text: str) -> str | None:
    """That a key was typed which other benchmarks of ``benchmark.py`` have; None otherwise."""
    typed = re.match(r"Could not override '([^']+)'", text)
    if not typed or os.path.basename(sys.argv[0]) != "benchmark.py":
        return None
    words = [word.partition("=")[2] for word in sys.argv if word.startswith("benchmark=")]
    chosen, first = (words or ["serving"])[-1], typed[1].partition(".")[0]
    owners = [
        name
        for name, entry in sorted(BENCHMARKS.items())
        if first in {field.name for field in fields(entry.config)}
    ]
    if not owners or chosen in owners:
        return None
    return f"{typed[1]} is a key of benchmark={', '.join(owners)}, not of benchmark={chosen}"


def _unreadable(override: str) -> str:
    """What to type instead of an override that Hydra cannot parse."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} cannot be read: an override is key=value"
    plain = value.strip("'\"")
    return (
        f"{override} cannot be read: a value with characters like = , ( needs quotes inside those "
        f"of the shell: '{key}=\"{plain}\"'"
    )


def _analyses() -> dict[str, list[str]]:
    """The keys of each analysis of ``analyze.py``; none in another program."""
    options = ConfigStore.instance().repo.get("analysis", {})
    return {
        name.removesuffix(".yaml"): _leaves(OmegaConf.get_type(option.node) or object, "")
        for name, option in sorted(options.items())
    }


def option_keys() -> list[str]:
    """Every key of the schema, dotted as typed."""
    keys = set(_leaves(Config, ""))
    for group, schema in option_schemas():
        keys |= set(_leaves(schema, f"{group}."))
    return sorted(keys)


def _leaves(schema: type, prefix: str) -> list[str]:
    hints = get_type_hints(schema)
    keys: list[str] = []
    for field in fields(schema):
        kind = hints[field.name]
        if is_dataclass(kind):
            keys += _leaves(kind, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            keys.append(prefix + field.name)
    return keys
