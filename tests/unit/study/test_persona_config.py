"""The keys of study=persona: how they are typed, what is refused, and each scale's grid."""

import pytest
from front_doors import ROOT
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from small_persona import small

from loradrift.config import UserError
from loradrift.study.arguments import read_arguments
from loradrift.study.persona import PERSONA_PHASES, PersonaStudyConfig

LOADER = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))


def test_axes_are_typed_as_for_any_multirun_and_what_the_study_sets_is_refused():
    study, rest = read_arguments(
        small(), ["task.trait=gloomy,boastful", "seed=5", "model=tiny", "task=persona"], LOADER
    )
    assert (study.traits, study.seeds, rest) == (["gloomy", "boastful"], [5], ["model=tiny"])
    for typed, message in (
        ("task.side=pos", "task.side=pos: study=persona sets task.side itself, for each of its"),
        ("study.trials=3", "study.trials=3 has no effect on study=persona"),
        ("task=sst2", r"^task must be \[persona\], got \['sst2'\]"),
        ("model.num_layers=1,2", "study=persona varies task, task.trait, method and seed alone"),
        ("study.shares=0.1,0.2", r"a study has one study.shares, a list: .*=\[0.1,0.2\]"),
    ):
        with pytest.raises(UserError, match=message):
            read_arguments(small(), [typed], LOADER)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": ["production"]}, "study.phases must be some of sides, directions, finetun"),
        ({"traits": ["a", "a"]}, "study.traits must be different, got a, a"),
        (
            {"doses": {"wait": [1.0]}},
            "study.doses must be some of prompt, activation, .*, got wait",
        ),
        ({"doses": {"weight": [0.0]}}, "study.doses.weight must be finite numbers other than 0"),
        ({"doses": {"weight": [1.0, 1.0]}}, "study.doses.weight must be different"),
        ({"composed": {"prompt": 1.0}}, "study.composed must be some of weight, activation, got p"),
        ({"composed": {"weight": 0.0}}, "study.composed.weight must be a finite number other th"),
        ({"shares": [1.5]}, "study.shares must be from 0 to 1, got 1.5"),
        ({"share_seeds": [2]}, "study.share_seeds must be other ones than study.seeds, got 2"),
        ({"share_seeds": [-1]}, "study.share_seeds must be in"),
        ({"prevented": [0.0]}, "study.prevented must be finite numbers other than 0, got 0.0"),
        ({"questions": 0}, "study.questions must be positive, got 0"),
    ],
)
def test_values_are_judged_at_the_door(changes, message):
    with pytest.raises(UserError, match=message):
        small(**changes)


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_each_scale_has_a_grid(load, scale):
    typed = ["data=local", "data.root=there"] if scale == "small" else []
    study = load("study=persona", f"scale={scale}", *typed).study
    assert isinstance(study, PersonaStudyConfig) and tuple(study.phases) == PERSONA_PHASES
    assert study.traits and study.seeds and study.composed
    assert {"prompt", "activation", "weight", "random_weight", "random_activation"} < {*study.doses}
    doses = {arm: study.doses[arm] for arm in ("weight", "activation")}
    assert all(min(each) < 0 < max(each) for each in doses.values())
    assert len(study.traits) * len(study.shares) * len(study.methods) >= 12  # of a verdict


def test_dictionaries_are_typed_key_by_key(load):
    study = load("study=persona", "study.doses={weight:[0.1],bias_only:[]}").study
    assert study.doses["weight"] == [0.1] and study.doses["bias_only"] == []
    assert study.doses["activation"]
