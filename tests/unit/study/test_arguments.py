"""What may be typed beside ``study=…``."""

import json
from dataclasses import asdict

import pytest
from front_doors import ROOT
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path

from loradrift.config import PHASES, StudyConfig, UserError, identity
from loradrift.study.arguments import read_arguments

AXES = {"tasks": ["sst2"], "methods": ["lora"], "seeds": [1]}
LOADER = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))


def test_axes_are_typed_as_for_any_multirun():
    typed = ["study=drift", "task=mrpc,rte", "seed=range(3)", "model=tiny", "study.trials=3"]
    study, rest = read_arguments(StudyConfig(**AXES), typed, LOADER)
    assert (study.tasks, study.methods, study.seeds) == (["mrpc", "rte"], ["lora"], [0, 1, 2])
    assert rest == ["study=drift", "model=tiny"]
    study, _ = read_arguments(StudyConfig(**AXES), ["task=glob([s*,r*])"], LOADER)
    assert study.tasks == ["rte", "squad_v2", "sst2"]


def test_a_mistake_names_the_key_the_rule_and_the_value():
    for typed, message in (
        (["method.rank=4,8"], r"method.rank=4,8: study=main varies task, method and seed alone"),
        (["seed=1", "study.seeds=[2]"], r"seed=1 and study.seeds say the same: type one of them"),
        (["study.name=a,b"], r"study.name=a,b: study=main varies task, method and seed alone"),
        (["experiment=overfit"], r"experiment=overfit: .* own: study.phases=\[sanity\]"),
        (["phase=search"], r"phase=search: a study says itself what a run is for: study.phases="),
        (["study.seeds=1,2"], r"study.seeds=1,2: a study has one study.seeds, .*=\[1,2\]"),
        (["search=lora"], r"search=lora: study=main searches by itself, .*phases=\[search\]"),
        (["task=sst3"], r"study.tasks must be some of sst2, mrpc, rte, squad_v2, got sst3"),
        (["method=majority"], r"study.methods must be some of full_finetune, lora, .* majority"),
        (["seed=1,1"], r"study.seeds must be different, got \[1, 1\]"),
    ):
        with pytest.raises(UserError, match=message):
            read_arguments(StudyConfig(**AXES), typed, LOADER)


def test_values_are_judged_at_the_door():
    for values, message in (
        *(({axis: []}, rf"{axis} must be a list of at least one, got \[\]") for axis in AXES),
        ({"phases": ["produce"]}, r"phases must be some of sanity, .* report, got produce"),
        ({"seeds": [-1]}, r"seeds must be in \[0, 2\^32\), got -1"),
        ({"trials": 0}, r"trials must be positive, got 0"),
    ):
        with pytest.raises(UserError, match=f"study.{message}"):
            read_arguments(StudyConfig(**{**AXES, **values}), [], LOADER)


def test_only_the_small_scale_leaves_out_the_search(load):
    assert set(PHASES) - set(load("study=drift").study.phases) == {"search"}
    assert tuple(load("study=drift", "scale=paper").study.phases) == PHASES


def test_a_run_is_the_same_whatever_else_its_study_holds(load):
    alone, among = load("study.name=drift"), load("study=drift", "study.seeds=[1]")
    assert identity(alone) == identity(among)
    assert among.cell == alone.cell
    assert json.loads(json.dumps(identity(alone)))["study"] == {"name": "drift"}
    assert asdict(among.study)["seeds"] == [1]
