"""Dictionaries of a configuration, as they are typed."""

from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from loradrift.config.schemas import open_schema


@dataclass
class Inner:
    doses: dict[str, float] = field(default_factory=dict)


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    also: dict[str, float] = field(default_factory=lambda: {"a": 1.0})
    none: dict[str, float] | None = None


def test_dictionaries_take_new_keys_and_nothing_else_does():
    composed = OmegaConf.merge(OmegaConf.structured(Outer), open_schema(Outer))
    OmegaConf.set_struct(composed, True)  # as Hydra does
    OmegaConf.update(composed, "inner.doses", {"b": 2})
    OmegaConf.update(composed, "also", {"b": 3})
    assert OmegaConf.to_object(composed) == Outer(Inner({"b": 2.0}), {"a": 1.0, "b": 3.0})
    for key in ("inner.dose", "other"):
        with pytest.raises((ConfigKeyError, ConfigAttributeError)):
            OmegaConf.update(composed, key, 1)


def test_without_it_hydra_refuses_them():
    composed = OmegaConf.structured(Outer)
    OmegaConf.set_struct(composed, True)
    with pytest.raises((ConfigKeyError, ConfigAttributeError)):
        OmegaConf.update(composed, "also", {"b": 3})
