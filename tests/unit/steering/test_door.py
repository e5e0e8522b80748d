"""Keys that would have no effect are refused before anything is read."""

import pytest
from steering_cases import make_config

from loradrift.config import UserError
from loradrift.steering.door import check_door


@pytest.mark.parametrize(
    ("keys", "typed", "message"),
    [
        ({}, "steering.layers=[1]", "steering.layers has no effect with arm=none, which adds"),
        ({"arm": "weight"}, "steering.positions=prompt", "no effect with arm=weight, which"),
        ({"arm": "bias_only"}, "steering.vector=prompt_avg", "arm=bias_only, which adds no"),
        ({}, "steering.study=x", "steering.study has no effect with arm=none, which needs no"),
        ({"arm": "prompt"}, "steering.direction=x", "arm=prompt, which needs no dir"),
        (
            {"arm": "weight", "steering": {"direction": "x"}},
            "steering.direction_seed=2",
            "no effect with steering.direction, which names the direction's folder",
        ),
        (
            {"arm": "bias_only"},
            "steering.also={grim:1.0}",
            "steering.also.grim has no effect with arm=bias_only: arm=weight and arm=activation",
        ),
        ({"steering": {"task": None}}, "steering.task_rows=3", "with steering.task=null"),
        ({}, "data.train_rows=5", "data.train_rows has no effect with benchmark=steering"),
        ({}, "study.name=x", "steering.study names whose directions are used"),
        ({"steering": {"task": None}}, "data.evaluation_split=test", "with steering.task=null"),
        ({"arm": "weight"}, "seed=1", "no effect with arm=weight and steering.tem"),
        ({}, "trainer.precision=bf16-mixed", "no effect with benchmark=steering, which trains not"),
    ],
)  # fmt: skip
def test_a_key_without_effect_is_named(finished_world, keys, typed, message):
    with pytest.raises(UserError, match=message):
        check_door(make_config(finished_world, **keys), ["coefficient=0", typed])


@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        ({"arm": "activation"}, "steering.layers=[1]"),
        ({"arm": "random_activation"}, "seed=1"),
        ({"arm": "weight"}, "steering.also={grim:1.0}"),
        ({"steering": {"temperature": 1.0}}, "seed=1"),
        (
            {"arm": "weight", "steering": {"direction": "x", "also": {"grim": 1.0}}},
            "steering.study=other",
        ),
        ({}, "data.evaluation_split=test"),
        ({}, "trainer.threads=1"),
    ],
)
def test_a_key_with_an_effect_is_taken(finished_world, keys, typed):
    check_door(make_config(finished_world, **keys), ["coefficient=0", typed])


def test_an_arm_without_a_coefficient_would_do_nothing(finished_world):
    check_door(make_config(finished_world), [])
    with pytest.raises(UserError, match="arm=weight needs coefficient=<dose>: 0, its default, is"):
        check_door(make_config(finished_world, arm="weight"), ["arm=weight"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"arm": "wight"}, "arm must be none or prompt or activation or weight or weight_positive"),
        ({"coefficient": 0.5}, "coefficient must be 0 with arm=none, got 0.5"),
        ({"arm": "prompt", "coefficient": 1.5}, "must be from -1 to 1 with arm=prompt, got 1.5"),
        ({"arm": "prompt", "coefficient": 0.31}, "must be a multiple of 0.2 with arm=prompt"),
        ({"arm": "prompt", "coefficient": 0.05}, "must be a multiple of 0.2 with arm=prompt"),
        ({"engine": "vllm"}, "engine must be hf with benchmark=steering"),
        ({"steering": {"samples": 2}}, "steering.samples must be 1 with steering.temperature=0"),
        ({"steering": {"temperature": -1.0}}, "steering.temperature must be 0 or more, got -1.0"),
        ({"steering": {"positions": "end"}}, "steering.positions must be all or prompt or respons"),
        ({"steering": {"vector": "mean"}}, "steering.vector must be response_avg or prompt_avg or"),
        ({"steering": {"layers": [1, 1]}}, r"steering.layers must be different, got \[1, 1\]"),
        ({"steering": {"batch_size": 0}}, "steering.batch_size must be positive, got 0"),
        (
            {"arm": "weight", "steering": {"also": {"cheerful": 1.0}}},
            "steering.also.cheerful is the trait that coefficient=0 steers",
        ),
        (
            {"arm": "weight", "steering": {"also": {"grim": float("inf")}}},
            "steering.also.grim must be a finite number, got inf",
        ),
    ],
)  # fmt: skip
def test_a_value_is_judged(finished_world, keys, message):
    with pytest.raises(UserError, match=message):
        make_config(finished_world, **keys)
