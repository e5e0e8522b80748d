"""The small world, written once; tests that change a part of it take a copy."""

import json
import shutil

import pytest
from steering_cases import World, change_facts, world_at, write_world


@pytest.fixture(scope="session")
def finished_world(tmp_path_factory) -> World:
    """Never changed."""
    return write_world(tmp_path_factory.mktemp("steered"))


@pytest.fixture
def world(finished_world, tmp_path) -> World:
    """A copy, which a test may change; base and data are the same folders."""
    shutil.copytree(finished_world.folder / "results", tmp_path / "results")
    shutil.copytree(finished_world.folder / "runs", tmp_path / "runs")
    return world_at(tmp_path)._replace(root=finished_world.root, base=finished_world.base)


@pytest.fixture
def positive(world):
    """The direction says which run its positive adapter is."""
    digests = json.loads((world.run / "run.json").read_text())["certificate"]["files"]
    change_facts(world.direction, positive={"run": str(world.run), "sha256": digests})
