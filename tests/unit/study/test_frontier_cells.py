"""The cells of study=frontier: which there are, and that each is the cell of a command."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from front_doors import ROOT
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from loradrift.analysis.frontier.reading import FROZEN as ANALYSED_FROZEN
from loradrift.config import LoraConfig, UserError, identity, load
from loradrift.study.arguments import read_arguments
from loradrift.study.frontier import FRONTIER_PHASES, FrontierStudyConfig
from loradrift.study.frontier.configurations import CONFIGURATIONS, FROZEN
from loradrift.study.plans import plan_of

LOADER = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))


@pytest.fixture
def plan(hydra_program, tmp_path):
    """``plan(*typed, key=value)`` is the plan of a study with other keys."""

    def make(*typed, **changes):
        own = ["study=frontier", f"runs={tmp_path}/runs", f"results={tmp_path}/res", *typed]
        program = hydra_program(*own)
        study = replace(program.settings.study, **{"seeds": [1]} | changes)
        settings = replace(program.settings, study=study)
        return plan_of(program, settings, study, own)

    return make


def test_each_configuration_has_each_rate_of_its_own_scale_with_each_seed(plan):
    scale = ("scale.full_finetune_lr=1e-4", "scale.adapter_lr=1e-3", "scale.head_lr=1e-2")
    every = list(CONFIGURATIONS)
    made = plan(*scale, configurations=every, factors=[0.5, 2.0], seeds=[1, 2]).cells("sweep")
    assert len(made) == len({cell.folder for cell in made}) == 6 * 2 * 2
    bases = {"full_finetune": 1e-4, FROZEN: 1e-2}
    for cell in made:
        task, setting = cell.listed
        name, _, factor = setting.partition(" x ")
        method = cell.config.method
        assert task == "sst2" and name.startswith(method.name)
        rate = bases.get(method.name, 1e-3) * float(factor)
        assert method.optim.lr == pytest.approx(rate)
        # the backbone's rate varies alone: the new head learns alike in all
        assert method.name == FROZEN or method.optim.head_lr == 1e-2
    adapters = [c.config.method for c in made if isinstance(c.config.method, LoraConfig)]
    assert {(m.name, m.rank) for m in adapters} == {
        ("lora", 1), ("lora", 8), ("lora", 64), ("dora", 8),
    }  # fmt: skip
    assert {m.alpha / m.rank for m in adapters} == {2.0}


def test_steps_that_are_typed_reach_every_cell_and_tasks_are_an_axis(plan):
    few = {"configurations": ["full_finetune", "lora_r8"], "factors": [1.0, 2.0]}
    made = plan("task.max_steps=7", tasks=["sst2", "rte"], **few).cells("sweep")
    assert {cell.config.task.max_steps for cell in made} == {7} and len(made) == 8
    assert {cell.config.task.name for cell in made} == {"sst2", "rte"}


@pytest.mark.parametrize("typed", [(), ("trainer.validate_every=30", "data.seed=5")])
def test_every_cell_is_the_one_of_its_command_by_hand(plan, typed):
    few = {"configurations": ["full_finetune", "dora_r8", FROZEN], "factors": [0.316, 1.0]}
    for cell in plan(*typed, **few).cells("sweep"):
        by_hand = [each for each in cell.overrides if each != "study=frontier"]
        by_hand.append("study.name=frontier")
        config = load(compose("train", by_hand), by_hand)
        assert config.cell == cell.folder and identity(config) == identity(cell.config)
        # the evaluated checkpoint is of a validation, and has a dump
        dump = config.callbacks.activation_dump.every_n_steps
        assert dump == config.trainer.validate_every


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_each_scale_has_a_grid(load, scale):
    typed = ["data=local", "data.root=there"] if scale == "small" else []
    study = load("study=frontier", f"scale={scale}", *typed).study
    assert isinstance(study, FrontierStudyConfig) and tuple(study.phases) == FRONTIER_PHASES
    assert study.seeds and {"full_finetune", "lora_r8", FROZEN} <= set(study.configurations)
    steps = [np.log10(high / low) for low, high in pairwise(study.factors)]
    assert steps == pytest.approx([1 if scale == "tiny" else 0.5] * len(steps), abs=0.01)
    assert 1 in study.factors and len(study.factors) >= (3 if scale == "tiny" else 5)
    assert (ROOT / f"conf/grid/frontier_{scale}.yaml").read_text().startswith("# study=frontier")


def test_the_analysis_knows_the_control_by_the_same_name():
    assert ANALYSED_FROZEN == FROZEN == CONFIGURATIONS[FROZEN].method


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("task=persona", "^task must be some of sst2, mrpc, rte, squad_v2, got persona"),
        ("task=reconstruction", "^task must be some of .*squad_v2, got reconstruction"),
        ("search=lora", "^search=lora: a search alone is typed without study=…"),
        ("method=dora", r"sets method itself, for each of its cells: type study.configurations=\["),
        ("method.optim.lr=1e-3", r"sets method.optim.lr itself, .*: type study.factors=\[…\]"),
        ("best=true", r"sets best itself, for each of its cells: type study.factors=\[…\]"),
        ("study.methods=[lora]", r"study.methods=\[lora\] has no effect on study=frontier"),
        ("task.max_length=8,16", "study=frontier varies task and seed alone"),
        ("study.factors=1,2", r"a study has one study.factors, a list: study.factors=\[1,2\]"),
    ],
)
def test_what_the_study_sets_or_does_not_vary_is_refused(load, typed, message):
    own = load("study=frontier").study
    with pytest.raises(UserError, match=message):
        read_arguments(own, [typed], LOADER)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"factors": [1.0]},
            r"study.factors must be at least two: one rate is a point and no curv",
        ),
        ({"factors": []}, r"study.factors must be at least two: .*, got \[\]"),
        (
            {"factors": [1.0, 1.0]},
            r"study.factors must be different to five digits, got \[1.0, 1.0\]",
        ),
        ({"factors": [1.0, 1.0000001]}, "study.factors must be different to five digits"),
        ({"factors": [1.0, 0.0]}, "study.factors must be positive and finite, got 0"),
        ({"factors": [1.0, -2.0]}, "study.factors must be positive and finite, got -2"),
        ({"factors": [1.0, float("inf")]}, "study.factors must be positive and finite, got inf"),
        ({"configurations": ["lora_r9"]}, "study.configurations must be some of full_finetune, lo"),
        ({"configurations": ["lora_r8", FROZEN]}, "must hold at least two that train the backbone"),
        ({"configurations": [FROZEN, "lora_r8", "lora_r1"]}, "and begin with the one that the oth"),
        ({"phases": ["production"]}, "study.phases must be some of base, sweep, report"),
    ],
)
def test_values_are_judged_at_the_door(load, changes, message):
    load()  # makes the tasks known
    with pytest.raises(UserError, match=message):
        FrontierStudyConfig(**{"name": "frontier", "seeds": [1]} | changes)
