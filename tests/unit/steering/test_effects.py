"""A dose that does not do what it says is found."""

from itertools import count

import pytest
from steering_cases import make_config

from loradrift.config import UserError
from loradrift.generation.base import EngineSettings, Intervention, Sampling
from loradrift.generation.hf import open_hf
from loradrift.steering.answers import answer_all
from loradrift.steering.directions import read_direction
from loradrift.steering.doses import Dose, mean_outputs
from loradrift.steering.effects import answer_nats, beside_weights, check_effect
from loradrift.steering.plan import prepare


@pytest.fixture(scope="module")
def plan(finished_world, tmp_path_factory):
    config = make_config(finished_world, arm="weight", coefficient=0.7)
    return prepare(config)


@pytest.fixture(scope="module")
def engine(finished_world):
    with open_hf(EngineSettings(finished_world.base, max_length=200)) as opened:
        yield opened


@pytest.fixture
def check(engine, plan, tmp_path):
    """Answer under ``applied`` what is said to be under ``dose``."""

    numbers = count()

    def measured(dose, applied=None):
        with (applied or dose).in_weights(engine.backbone):
            [batch] = answer_all(
                engine,
                plan.asked,
                dose,
                Sampling(max_tokens=5),
                batch_size=3,
                tokenizer=plan.tokenizer,
                folder=tmp_path / str(next(numbers)),
            )
            steered = answer_nats(engine, plan.asked, batch.answers, dose)
        keys = {"asked": plan.asked, "plain": plan.plain, "answers": batch.answers}
        return check_effect(engine, dose, steered=steered, **keys)

    return measured


def test_weights_do_what_their_factors_predict(check, plan):
    found = check(plan.dose)
    assert found["effect_nats"] > 0.1
    assert found["predicted_nats"] == pytest.approx(found["effect_nats"], abs=1e-4)
    assert check(Dose()) == {"effect_nats": 0.0}


def test_weights_that_were_merged_by_another_coefficient_are_found(check, plan):
    [(changes, coefficient)] = plan.dose.changes
    twice = Dose(changes=((changes, 1.5 * coefficient),))
    with pytest.raises(UserError, match="it was not merged as it should"):
        check(plan.dose, applied=twice)


def test_a_dose_without_effect_is_found(check, plan, finished_world):
    with pytest.raises(UserError, match="the dose has no effect"):
        check(plan.dose, applied=Dose())
    vector = Dose(interventions=(Intervention(1, (0.0,) * 32, 1.0),))
    with pytest.raises(UserError, match="the dose has no effect"):
        check(vector)
    moved = Dose(interventions=(Intervention(1, (1.0,) * 16 + (-1.0,) * 16, 9.0),))
    assert check(moved)["effect_nats"] > 0.01
    direction = read_direction(finished_world.direction)
    assert "predicted_nats" not in check(Dose(constants=mean_outputs(direction, 1.0)))


def test_factors_beside_the_weights_leave_them_as_they_are(engine, plan):
    before = {name: p.clone() for name, p in engine.backbone.named_parameters()}
    with pytest.raises(ZeroDivisionError), beside_weights(engine.backbone, plan.dose):
        1 / 0  # noqa: B018
    assert all((p == before[name]).all() for name, p in engine.backbone.named_parameters())
    hooks = [module._forward_hooks for module in engine.backbone.modules()]
    assert not any(hooks)
