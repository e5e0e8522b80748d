"""Examples in docstrings run, and no public function of the libraries goes without one."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

PACKAGES = ["loradrift.caching", "loradrift.similarity", "loradrift.statistics"]


def modules(name: str) -> Iterator[str]:
    """A module, or a package and all that is in it."""
    yield name
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        yield found.name


@pytest.mark.parametrize("name", [name for package in PACKAGES for name in modules(package)])
def test_every_public_function_has_an_example_that_runs(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == name and not key.startswith("_")
    }
    assert [key for key, value in own.items() if ">>>" not in (value.__doc__ or "")] == []
