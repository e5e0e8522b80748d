"""A run's directory is its cell: coordinates, and whatever else was overridden."""

from pathlib import Path

import pytest

from loradrift.cli.resolved_config import variant
from loradrift.config import identity


def test_coordinates_name_the_folder(load):
    run = load("task=mrpc", "method=lora", "seed=3")
    assert run.cell == Path("runs/main/mrpc/lora/seed=3")


def test_what_else_is_overridden_is_the_variant(load):
    run = load("method.rank=4", "task=rte", "data.train_rows=50")
    assert run.cell == Path("runs/main/rte/lora,data.train_rows=50,method.rank=4/seed=0")


def test_a_study_names_its_own_folder(load):
    assert load("study=drift").cell == Path("runs/drift/sst2/lora/seed=0")


def test_order_of_typing_does_not_matter():
    assert variant(["a=1", "method.rank=2"]) == variant(["method.rank=2", "a=1"])


@pytest.mark.parametrize("watched", ["logger=wandb", "logger.project=p", "runs=x", "cache=y"])
def test_what_only_watches_is_no_variant_and_no_part_of_the_identity(load, watched):
    assert variant([watched, "force=true", "seed=1", "study=drift"]) == ""
    assert identity(load(watched)) == identity(load())


def test_a_number_is_named_as_a_sweep_names_it():
    assert variant(["a.lr=2e-3"]) == variant(["a.lr=0.002"]) == "a.lr=0.002"


def test_of_a_key_typed_twice_the_last_counts():
    assert variant(["a=1", "a=2"]) == "a=2"


def test_paths_become_readable_and_stay_apart():
    one, other = variant(["model.path=/a/base"]), variant(["model.path=/b/base"])
    assert one.startswith("model.path=base~") and "/" not in one
    assert one != other


def test_long_names_fit_a_file_system_and_stay_apart():
    many = [f"method.very_long_key_{i}=value" for i in range(20)]
    assert len(variant(many)) < 200
    assert variant(many) != variant([*many[:-1], "method.very_long_key_19=other"])
