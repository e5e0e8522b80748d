"""Examples in docstrings run, and no public function of the libraries goes without one."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
import torch

from loradrift.similarity.functional.sufficient_stats import moments

PACKAGES = ["caching", "collapse", "similarity", "statistics"]
EXPORTED = ["loradrift.adapters", "loradrift.weights"]
"""Packages whose public functions are those that they export."""
GIVEN = {"torch": torch, "moments": moments}
"""What every example may use without importing it."""


def modules(name: str) -> Iterator[str]:
    """A module, or a package and all that is in it."""
    yield name
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        yield found.name


@pytest.mark.parametrize(
    "name", [name for each in PACKAGES for name in modules(f"loradrift.{each}")]
)
def test_every_public_function_has_an_example_that_runs(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs=GIVEN).failed == 0
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == name and not key.startswith("_")
    }
    assert [key for key, value in own.items() if ">>>" not in (value.__doc__ or "")] == []


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_function_has_an_example_that_runs(name):
    for each in modules(name):
        assert doctest.testmod(importlib.import_module(each), extraglobs=GIVEN).failed == 0
    package = importlib.import_module(name)
    exported = {key: getattr(package, key) for key in package.__all__}
    functions = {key: x for key, x in exported.items() if inspect.isfunction(x)}
    assert functions
    assert [key for key, x in functions.items() if ">>>" not in (x.__doc__ or "")] == []
