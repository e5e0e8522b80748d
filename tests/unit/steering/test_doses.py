"""What each arm at a coefficient does to a model."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from adapter_cases import load_base
from steering_cases import make_config

from loradrift.config import ModelConfig, UserError
from loradrift.models import load_backbone
from loradrift.steering.config import ARMS
from loradrift.steering.directions import read_direction
from loradrift.steering.doses import (
    MAKERS,
    Dose,
    Material,
    make_dose,
    mean_outputs,
    random_changes,
    random_vectors,
)
from loradrift.weights import cosine, norm

IDS = torch.tensor([[1, 40, 41, 42, 43]])


@pytest.fixture(scope="module")
def material(finished_world):
    direction = read_direction(finished_world.direction)
    positive = tuple(f"do {i}" for i in range(5))
    negative = tuple(f"do not {i}" for i in range(5))
    return Material(positive, negative, {"cheerful": direction}, 2, {"x": None})


@pytest.fixture
def dose(finished_world, material):
    return lambda **keys: make_dose(make_config(finished_world, **keys), material)


def logits(backbone, dose):
    with torch.no_grad(), dose.in_weights(backbone):
        return backbone.causal_lm(input_ids=IDS).logits[0].double()


@pytest.fixture(scope="module")
def backbone(finished_world):
    model = ModelConfig(name="local", path=str(finished_world.base))
    return load_backbone(model, seed=0).eval().requires_grad_(False)


def test_every_arm_has_a_maker():
    assert tuple(MAKERS) == ARMS


@pytest.mark.parametrize("arm", ARMS)
def test_coefficient_0_does_nothing(dose, arm):
    assert dose(arm=arm).is_nothing


@pytest.mark.parametrize(
    ("coefficient", "wanted"),
    [
        (1.0, [f"do {i}" for i in range(5)]),
        (0.4, ["do 0", "do 1"]),
        (0.2, ["do 0"]),
        (-0.2, ["do not 0"]),
        (-1.0, [f"do not {i}" for i in range(5)]),
    ],
)
def test_the_prompt_arm_counts_instructions(dose, coefficient, wanted):
    found = dose(arm="prompt", coefficient=coefficient)
    assert list(found.instructions) == wanted
    assert not (found.interventions or found.changes or found.constants)


def test_vectors_are_added_at_the_middle_block_or_those_that_are_typed(dose, material):
    vectors = material.directions["cheerful"].vectors
    [change] = dose(arm="activation", coefficient=-0.5).interventions
    assert (change.layer, change.coefficient, change.positions) == (1, -0.5, "all")
    assert change.vector == tuple(vectors["response_avg"][1].tolist())
    keys = {"layers": [1, 0], "vector": "prompt_last", "positions": "prompt"}
    both = dose(arm="activation", coefficient=2.0, steering=keys).interventions
    assert [each.layer for each in both] == [0, 1]
    assert [each.vector for each in both] == [tuple(x.tolist()) for x in vectors["prompt_last"]]
    assert {each.positions for each in both} == {"prompt"}
    with pytest.raises(UserError, match=r"steering.layers must be from 0 to 1, .* got 2"):
        dose(arm="activation", coefficient=1.0, steering={"layers": [2]})
    with pytest.raises(UserError, match=r"coefficient=1e\+300 is too large: times the vector of"):
        dose(arm="activation", coefficient=1e300)


def test_weights_are_the_base_plus_the_coefficient_times_b_a(
    dose, backbone, finished_world, material
):
    found = logits(backbone, dose(arm="weight", coefficient=-0.7))
    model = load_base(finished_world.base).eval()
    for name, change in material.directions["cheerful"].changes.items():
        weight = model.get_submodule(name).weight
        dense = -0.7 * change.scale * change.B_OR @ change.A_RI
        weight.data = (weight.data.double() + dense).float()
    with torch.no_grad():
        wanted = model(input_ids=IDS).logits[0].double()
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not torch.allclose(found, logits(backbone, Dose()), atol=1e-2)


def test_bias_only_adds_what_the_direction_gives_for_the_mean_input(dose, backbone, material):
    direction = material.directions["cheerful"]
    found = dose(arm="bias_only", coefficient=0.3)
    name = "model.layers.1.mlp.down_proj"
    change = direction.changes[name]
    dense = change.scale * change.B_OR @ change.A_RI
    wanted = 0.3 * dense @ direction.input_means[name].double()
    assert torch.allclose(found.constants[name].double(), wanted, atol=1e-6)
    seen = []
    module = backbone.causal_lm.get_submodule(name)
    with found.in_weights(backbone):
        handle = module.register_forward_hook(lambda _m, i, out: seen.append((i[0], out)))
        with torch.no_grad():
            backbone.causal_lm(input_ids=IDS)
        handle.remove()
    [(given, output)] = seen
    assert torch.allclose(output, given @ module.weight.T + wanted.float(), atol=1e-5)
    twice = {name: replace(x, scale=2 * x.scale) for name, x in direction.changes.items()}
    double = mean_outputs(replace(direction, changes=twice), 0.3)
    assert torch.allclose(double[name].double(), 2 * wanted, atol=1e-6)
    with pytest.raises(UserError, match="is too large: what it adds to .* is not finite"):
        dose(arm="bias_only", coefficient=1e300)


def test_random_changes_are_as_large_and_point_elsewhere(material):
    changes = material.directions["cheerful"].changes
    drawn, again, other = (random_changes(changes, seed) for seed in (3, 3, 4))
    for name, change in changes.items():
        assert norm(drawn[name]) == pytest.approx(norm(change))
        assert drawn[name].rank == change.rank
        assert abs(cosine(drawn[name], change)) < 0.5
        assert torch.equal(drawn[name].B_OR, again[name].B_OR)
        assert norm(drawn[name] - other[name]) > 0.5 * norm(change)
    vectors = material.directions["cheerful"].vectors["response_avg"]
    drawn, again, other = (random_vectors(vectors, seed) for seed in (3, 3, 4))
    assert torch.allclose(drawn.norm(dim=1), vectors.double().norm(dim=1))
    assert torch.equal(drawn, again) and not torch.equal(drawn, other)
    assert torch.cosine_similarity(drawn, vectors.double()).abs().max() < 0.7


def test_the_random_arms_take_the_direction_s_size(dose, material):
    [(changes, coefficient)] = dose(arm="random_weight", coefficient=0.5, seed=3).changes
    own = material.directions["cheerful"].changes
    assert coefficient == 0.5 and changes.keys() == own.keys()
    drawn = random_changes(own, 3)
    assert all(torch.equal(changes[name].B_OR, drawn[name].B_OR) for name in own)
    [change] = dose(arm="random_activation", coefficient=0.5, seed=3).interventions
    own = material.directions["cheerful"].vectors["response_avg"][1]
    assert torch.tensor(change.vector).norm() == pytest.approx(float(own.norm()))
    assert change.vector != tuple(own.tolist())


@pytest.mark.parametrize("arm", ["weight", "activation"])
def test_two_traits_are_added(finished_world, material, arm, backbone):
    first = material.directions["cheerful"]
    opposite = SimpleNamespace(
        changes={name: x - (x + x) for name, x in first.changes.items()},
        vectors={name: -x for name, x in first.vectors.items()},
    )
    both = Material((), (), {"cheerful": first, "grim": opposite}, 2)
    config = make_config(
        finished_world, arm=arm, coefficient=0.5, steering={"also": {"grim": 0.25}}
    )
    dose = make_dose(config, both)
    one = make_dose(make_config(finished_world, arm=arm, coefficient=0.25), material)
    if arm == "weight":
        assert torch.allclose(logits(backbone, dose), logits(backbone, one), atol=1e-4)
        return
    total = sum(each.coefficient * torch.tensor(each.vector) for each in dose.interventions)
    [alone] = one.interventions
    assert torch.allclose(total, 0.25 * torch.tensor(alone.vector), atol=1e-6)


def test_a_dose_is_gone_afterwards_even_after_an_error(dose, backbone):
    before = {name: p.clone() for name, p in backbone.named_parameters()}
    plain = logits(backbone, Dose())
    for arm in ("weight", "bias_only"):
        with pytest.raises(ZeroDivisionError), dose(arm=arm, coefficient=1.0).in_weights(backbone):
            1 / 0  # noqa: B018
        assert all(torch.equal(p, before[name]) for name, p in backbone.named_parameters())
        assert torch.equal(logits(backbone, Dose()), plain)
