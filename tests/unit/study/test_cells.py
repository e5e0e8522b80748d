"""Cells are composed once for all seeds, and a finished one costs a file."""

from dataclasses import replace
from fnmatch import fnmatch
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from front_doors import composed

from loradrift.config import StudyConfig
from loradrift.runs import Status, open_run
from loradrift.study.cells import found_values, plan_cells, seed_cells


@pytest.fixture
def program(load):
    """Composes as Hydra does, and counts."""
    compose = Mock(side_effect=lambda overrides: composed(*overrides))
    return SimpleNamespace(settings=load("study=drift"), compose=compose)


def test_seeds_are_composed_once_and_each_is_compared_with_its_record(program, load, tmp_path):
    typed = ["task=rte", "method=lora", f"runs={tmp_path}"]
    for seed, others in ((1, []), (2, ["method.rank=4"]), (3, [])):
        status = Status.INTERRUPTED if seed == 3 else Status.SUCCESS
        settings = replace(load(*typed, *others, f"seed={seed}"), variant="")
        with open_run(settings) as cell:
            cell.save(status=status)
    cells = list(seed_cells(program, typed, range(1, 40)))
    assert program.compose.call_count == 1
    assert [cell.config.seed for cell in cells if cell.record] == [1]
    assert cells[4].overrides == (*typed, "seed=5")
    assert cells[4].config == load(*typed, "seed=5")
    # but where a value is made of the seed, each is composed
    cells = list(seed_cells(program, ["data.seed=${seed}"], [3, 4]))
    assert [cell.config.data.seed for cell in cells] == [3, 4]


def test_baselines_are_those_of_the_task_and_heed_no_training(program):
    study = StudyConfig(name="drift", tasks=["mrpc", "squad_v2"], methods=["lora"], seeds=[7, 8])
    cells = plan_cells("baselines", program, study, ["method.rank=4", "data.train_rows=200"])
    assert [(cell.config.task.name, cell.config.method.name) for cell in cells] == [
        *(("mrpc", name) for name in ("majority", "random", "zero_shot")),
        *(("squad_v2", name) for name in ("majority", "random", "abstain")),
    ]
    assert {cell.config.seed for cell in cells} == {7}
    assert {cell.config.variant for cell in cells} == {"data.train_rows=200"}


def test_a_sanity_check_has_rows_and_steps_of_its_own_whatever_the_production_has(program):
    study = StudyConfig(name="drift", tasks=["mrpc"], methods=["lora"], seeds=[7])
    typed = ["data.train_rows=200", "task.max_steps=null", "task.epochs=3", "method.rank=4"]
    [cell] = plan_cells("sanity", program, study, typed)
    config = cell.config
    assert (config.data.train_rows, config.task.max_steps) == (100, 150)
    assert config.task.min_train_accuracy == 0.99
    assert config.method.rank == 4


def test_production_uses_what_was_found_whichever_phases_are_picked(program, tmp_path):
    results, other = tmp_path / "results", tmp_path / "other.yaml"
    program.settings = replace(program.settings, results=str(results))
    axes = {"tasks": ["mrpc"], "methods": ["lora"], "seeds": [7]}
    study = StudyConfig(name="drift", phases=["production"], **axes)
    found = found_values(program.settings, "mrpc", "lora")
    found.parent.mkdir(parents=True)
    found.write_text("method.rank: 16")
    other.write_text("method.rank: 2")
    for best, rank, variant in (
        ([], 16, "best=True"), (["best=false"], 8, ""), ([f"best={other}"], 2, "best=other.yaml~*"),
    ):  # fmt: skip
        typed = ["study=drift", f"results={results}", *best]
        [cell] = plan_cells("production", program, study, typed)
        assert cell.config.method.rank == rank
        assert fnmatch(cell.config.variant, variant)
