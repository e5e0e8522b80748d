"""What a run is called beside its coordinates: its variant, and the folder of that variant."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from loradrift.config.keys import RUN, varies

LONGEST_NAME = 255
"""Bytes that file systems take in the name of a folder."""

LONGEST_LOSSY = 48
"""Characters of a value that has a digest after it; a path's end says most."""

LONGEST_VALUE = 32
"""Bytes of a value in a name that is cut short."""


def variant(overrides: Sequence[str], coordinates: Sequence[str] = RUN) -> str:
    """Whatever was overridden beside the cell's ``coordinates``, as ``key=value`` joined by commas.

    It is the overrides (of a key typed twice, the last, as in Hydra) in sorted order, in characters
    that every file system takes. Where that loses some (a path, a list) a digest keeps it unique.
    """
    return ",".join(sorted(map(_readable, varied(overrides, coordinates))))


def varied(overrides: Sequence[str], coordinates: Sequence[str] = RUN) -> list[str]:
    """The overrides that make the variant, each key once, in sorted order.

    A sweep hands on values as Hydra parsed them (2e-3 as 0.002), and so does this.
    """
    parsed = [each for each in map(_parsed, overrides) if varies(each, coordinates)]
    return sorted({each.partition("=")[0]: each for each in parsed}.values())


@lru_cache(maxsize=4096)
def _parsed(override: str) -> str:
    [each] = OverridesParser.create().parse_overrides([override])
    return f"{each.get_key_element()}={each.get_value_element_as_str()}"


def _readable(override: str) -> str:
    key, _, value = override.partition("=")
    plain = re.sub(r"[^\w.+-]", "_", value)
    if plain == value:
        return f"{key}={value}"
    return f"{key}={re.sub('_+', '_', plain).strip('_')[-LONGEST_LOSSY:]}~{_digest(value)}"


def folder_name(method: str, variant: str) -> str:
    """The folder of a method's variant."""
    return f"{method},{cut_short(variant, LONGEST_NAME - len(method) - 1)}" if variant else method


def cut_short(variant: str, longest: int) -> str:
    """The variant in so many bytes.

    A long one loses the beginnings of keys and of values that are not needed to tell its keys
    apart, then its longest overrides, those of the method last. Every key and value that is left is
    readable, and a digest tells it from all others.
    """
    if len(variant.encode()) <= longest:
        return variant
    keys, values = zip(*(part.split("=", 1) for part in variant.split(",")), strict=True)
    short = [f"{k}={_cut(v)}" for k, v in zip(_short_keys(keys), values, strict=True)]
    sizes = [len(part.encode()) for part in short]
    order = sorted(range(len(keys)), key=lambda i: (not keys[i].startswith("method."), sizes[i]))
    kept, room = set[str](), longest - len(_digest("")) - 1
    for i in order:
        if sizes[i] <= room:
            kept.add(short[i])
            room -= sizes[i] + 1
    return f"{','.join(part for part in short if part in kept)}~{_digest(variant)}"


def _short_keys(keys: Sequence[str]) -> list[str]:
    """The last parts of each key, as many as no other of the keys ends in."""
    endings = [[key.split(".", n)[-1] for n in range(key.count("."), -1, -1)] for key in keys]
    owners = Counter(ending for each in endings for ending in each)
    return [next((e for e in each if owners[e] == 1), each[-1]) for each in endings]


def _cut(value: str) -> str:
    """A value's end, without its digest."""
    return value.partition("~")[0].encode()[-LONGEST_VALUE:].decode(errors="ignore")


def earlier_variant(overrides: Sequence[str]) -> str:
    """What :func:`variant` and the folder were before: paths by their last part, and cut short."""
    name = ",".join(sorted(map(_last_part, varied(overrides))))
    if len(name.encode()) <= 160:
        return name
    return f"{name.encode()[:140].decode(errors='ignore')}~{_digest(name)}"


def present_variant(name: str, overrides: Sequence[str]) -> str:
    """The variant of a record, or what it would be now where an earlier version cut it short."""
    with suppress(HydraException):  # what was typed for another kind of work
        if name == earlier_variant(overrides):
            return variant(overrides)
    return name


def _last_part(override: str) -> str:
    key, _, value = override.partition("=")
    plain = re.sub(r"[^\w.+-]", "_", value.rstrip("/").rsplit("/", maxsplit=1)[-1])
    return f"{key}={plain}" if plain == value else f"{key}={plain}~{_digest(value)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
