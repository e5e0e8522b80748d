"""A run's directory is its cell: coordinates, and whatever else was overridden."""

from pathlib import Path

import pytest

from loradrift.cli.resolved_config import variant
from loradrift.config import identity


@pytest.mark.parametrize(
    ("typed", "cell"),
    [
        (["task=mrpc", "method=lora", "seed=3"], "main/mrpc/lora/seed=3"),
        (
            ["method.rank=4", "task=rte", "data.train_rows=50"],
            "main/rte/lora,data.train_rows=50,method.rank=4/seed=0",
        ),
        (["study=drift"], "drift/sst2/lora/seed=0"),
    ],
)
def test_coordinates_and_what_else_is_overridden_name_the_folder(load, typed, cell):
    assert load(*typed).cell == Path("runs", cell)


@pytest.mark.parametrize("watched", ["logger=wandb", "logger.project=p", "runs=x", "cache=y"])
def test_what_only_watches_is_no_variant_and_no_part_of_the_identity(load, watched):
    assert variant([watched, "force=true", "seed=1", "study=drift"]) == ""
    assert identity(load(watched)) == identity(load())


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["method.rank=2", "a=1"], "a=1,method.rank=2"),  # in whatever order it is typed
        (["a.lr=2e-3"], "a.lr=0.002"),  # as a sweep names it
        (["a=1", "a=2"], "a=2"),  # the last counts
    ],
)
def test_a_variant_is_named_after_what_counts(typed, name):
    assert variant(typed) == name


def test_paths_become_readable_and_stay_apart():
    one, other = variant(["model.path=/a/base"]), variant(["model.path=/b/base"])
    assert one.startswith("model.path=base~") and "/" not in one
    assert one != other


def test_long_names_fit_a_file_system_and_stay_apart():
    many = [f"method.very_long_key_{i}=value" for i in range(20)]
    assert len(variant(many)) < 200
    assert variant(many) != variant([*many[:-1], "method.very_long_key_19=other"])
