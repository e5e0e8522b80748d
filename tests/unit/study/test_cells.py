"""What may be typed beside ``study=…``, and the cells that come of it for all seeds."""

import json
from dataclasses import asdict, replace
from fnmatch import fnmatch
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from front_doors import ROOT, composed
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from loradrift.config import PHASES, StudyConfig, UserError, identity
from loradrift.runs import Status, open_run
from loradrift.study.arguments import read_arguments
from loradrift.study.cells import found_values, plan_cells, seed_cells
from loradrift.study.plan import StudyPlan

AXES = {"tasks": ["sst2"], "methods": ["lora"], "seeds": [1]}
LOADER = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))


def test_axes_are_typed_as_for_any_multirun():
    typed = ["study=drift", "task=mrpc,rte", "seed=range(3)", "model=tiny", "study.trials=3"]
    study, rest = read_arguments(StudyConfig(**AXES), typed, LOADER)
    assert (study.tasks, study.methods, study.seeds) == (["mrpc", "rte"], ["lora"], [0, 1, 2])
    assert rest == ["study=drift", "model=tiny"]
    study, _ = read_arguments(StudyConfig(**AXES), ["task=glob([s*,r*])"], LOADER)
    assert study.tasks == ["reconstruction", "rte", "squad_v2", "sst2"]


def test_a_mistake_names_the_key_the_rule_and_the_value():
    for typed, message in (
        (["method.rank=4,8"], r"method.rank=4,8: study=main varies task, method and seed alone"),
        (["seed=1", "study.seeds=[2]"], r"seed=1 and study.seeds say the same: type one of them"),
        (["study.name=a,b"], r"study.name=a,b: study=main varies task, method and seed alone"),
        (["experiment=overfit"], r"experiment=overfit: .* own: study.phases=\[sanity\]"),
        (["trainer.rounding=1"], r"trainer.rounding=1: .* a phase for this: study.roundings=2"),
        (["phase=search"], r"phase=search: a study says itself what a run is for: study.phases="),
        (["study.seeds=1,2"], r"study.seeds=1,2: a study has one study.seeds, .*=\[1,2\]"),
        (["search=lora"], r"search=lora: study=main searches by itself, .*phases=\[search\]"),
        (["task=sst3"], r"^task must be some of sst2, mrpc, .*, persona, got sst3"),
        (["method=majority"], r"^method must be some of full_finetune, lora, .* majority"),
        (["seed=1,1"], r"^seed must be different, got \[1, 1\]"),
    ):
        with pytest.raises(UserError, match=message):
            read_arguments(StudyConfig(**AXES), typed, LOADER)


def test_values_are_judged_at_the_door():
    for values, message in (
        *(({axis: []}, rf"{axis} must be a list of at least one, got \[\]") for axis in AXES),
        ({"phases": ["produce"]}, r"phases must be some of sanity, .* report, got produce"),
        ({"seeds": [-1]}, r"seeds must be in \[0, 2\^32\), got -1"),
        ({"roundings": -1}, r"roundings must be at least 0, got -1"),
        ({"trials": 0}, r"trials must be positive, got 0"),
    ):
        with pytest.raises(UserError, match=f"study.{message}"):
            read_arguments(StudyConfig(**{**AXES, **values}), [], LOADER)


def test_only_the_small_scale_leaves_out_the_search(load):
    assert set(PHASES) - set(load("study=drift").study.phases) == {"search"}
    assert tuple(load("study=drift", "scale=paper").study.phases) == PHASES


def test_the_cheap_scale_has_more_seeds(load):
    tiny, paper = (load("study=drift", f"scale={each}").study.seeds for each in ("tiny", "paper"))
    assert (len(tiny), len(paper)) == (5, 3) and tiny[:3] == paper


def test_a_run_is_the_same_whatever_else_its_study_holds(load):
    alone, among = load("study.name=drift"), load("study=drift", "study.seeds=[1]")
    assert identity(alone) == identity(among)
    assert among.cell == alone.cell
    assert json.loads(json.dumps(identity(alone)))["study"] == {"name": "drift"}
    assert asdict(among.study)["seeds"] == [1]


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
        ([], 16, "best=True"), (["best=false"], 8, ""), ([f"best={other}"], 2, "best=*yaml~*"),
    ):  # fmt: skip
        typed = ["study=drift", f"results={results}", *best]
        [cell] = plan_cells("production", program, study, typed)
        assert cell.config.method.rank == rank
        assert fnmatch(cell.config.variant, variant)


@pytest.mark.parametrize(("found", "best"), [(False, ""), (True, "best=True,")])
def test_roundings_are_the_first_seeds_production_but_for_one_key(program, tmp_path, found, best):
    program.settings = replace(program.settings, results=str(tmp_path))
    study = StudyConfig(name="drift", **{**AXES, "seeds": [7, 8]}, roundings=3)
    if found:
        path = found_values(program.settings, "sst2", "lora")
        path.parent.mkdir(parents=True)
        path.write_text("method.rank: 16")
    typed = ["study=drift", f"results={tmp_path}", "trainer.accumulate=2"]
    whole, *_ = plan_cells("production", program, study, typed)
    cells = plan_cells("rounding", program, study, typed)
    variants = [f"{best}trainer.accumulate=2,trainer.rounding={n}" for n in (1, 2, 3)]
    assert [cell.config.variant for cell in cells] == variants
    for number, cell in enumerate(cells, start=1):
        config = cell.config
        assert config.phase == "rounding" and whole.config.phase == "production"
        assert config.trainer.rounding == number
        same = replace(config, trainer=replace(config.trainer, rounding=0))
        assert identity(same) == identity(whole.config)
    assert plan_cells("rounding", program, replace(study, roundings=0), typed) == []


def test_no_roundings_are_no_phase(program):
    def phases(**options):
        study = StudyConfig(phases=["rounding", "production"], **AXES, **options)
        return StudyPlan(program, program.settings, study, []).phases

    assert phases() == ["production", "rounding"] and phases(roundings=0) == ["production"]
