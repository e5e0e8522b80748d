"""What each way to steer costs: the calls, their files, and an adapter that is another one."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from steering_cases import make_config

from loradrift.config import UserError
from loradrift.generation.hf import HfEngine
from loradrift.steering import cost
from loradrift.steering.config import DirectionConfig, SteeringCostConfig
from loradrift.steering.cost_plan import COST_ARMS, make_plan
from loradrift.steering.memory import measure_memory, resident_bytes


@pytest.fixture
def config(world):
    def make(**keys):
        cell = make_config(world)
        places = {
            key: getattr(cell, key) for key in ("model", "data", "trainer", "runs", "results")
        }
        values = {"trait": "cheerful", "batch_sizes": [2, 1], "rounds": 2, "memory": False} | keys
        steering = DirectionConfig(max_tokens=4)
        return SteeringCostConfig(cache=cell.cache, steering=steering, **places, **values)

    return make


def test_every_arm_is_timed_in_every_round_at_every_batch_size(config):
    cell = config()
    cost.run(cell, ())
    rows = pq.read_table(cell.cell / "samples.parquet").to_pylist()
    wanted = {(arm, n, i) for arm in COST_ARMS for n in (1, 2) for i in range(2)}
    assert {(row["arm"], row["batch"], row["round"]) for row in rows} == wanted
    assert len(rows) == len(wanted)
    for row in rows:
        assert row["tokens"] == 4 * row["batch"]
        assert 0 < row["s_per_token"] < row["call_s"] and 0 < row["ttft_s"] < row["call_s"]
        assert row["ttft_s"] + 3 * row["s_per_token"] <= row["call_s"]
    orders = [[(row["arm"], row["batch"]) for row in rows if row["round"] == i] for i in (0, 1)]
    assert orders[0] != orders[1]
    record = json.loads((cell.cell / "run.json").read_text())
    assert (record["status"], record["kind"]) == ("success", "steering_cost")
    assert record["certificate"]["passed"] is True
    assert record["metrics"].keys() == {
        f"s_per_token/{arm}/{n}" for arm in COST_ARMS for n in (1, 2)
    }


def test_rounds_that_are_there_are_not_measured_again(config, monkeypatch):
    cell = config()
    call = cost._call

    def stopping(*args):
        if args[-1] == 1:
            raise KeyboardInterrupt
        return call(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cost, "_call", stopping)
        cost.run(cell, ())
    [kept] = (cell.cell / "rounds").iterdir()
    before = kept.read_bytes()
    cost.run(cell, ())
    assert kept.read_bytes() == before
    assert len(list((cell.cell / "rounds").iterdir())) == 2


def test_all_arms_answer_as_they_should(config, monkeypatch):
    generate, asked = HfEngine.generate, []

    def noted(self, requests, sampling):
        given = generate(self, requests, sampling)
        asked.append((requests[0].adapter, bool(requests[0].interventions), given[0].token_ids))
        return given

    plan = make_plan(config())
    [added] = plan.interventions
    plan = replace(plan, interventions=(replace(added, coefficient=50.0),))  # to be seen
    monkeypatch.setattr(HfEngine, "generate", noted)
    with cost.engines(plan) as opened:
        asked.clear()
        for arm in COST_ARMS:
            cost._call(opened[arm], plan, arm, 1, 0)
    base, merged, adapter, hook = asked
    assert [each[:2] for each in asked] == [
        (None, False), (None, False), ("direction", False), (None, True),
    ]  # fmt: skip
    assert merged[2] == adapter[2] != base[2]
    assert hook[2] not in (base[2], merged[2])


def test_an_adapter_that_does_not_answer_as_the_merged_weights_is_an_error(config, monkeypatch):
    plan = make_plan(config())
    with cost.engines(plan) as opened:
        cost.check_adapter(plan, opened)
        wrong = {**opened, "adapter": opened["adapter"], "merged": opened["base"]}
        with pytest.raises(UserError, match="answers otherwise than the weights that it is merged"):
            cost.check_adapter(plan, wrong)


def test_memory_counts_what_is_beside_the_weights(config):
    plan = make_plan(config())
    found = measure_memory(plan, processes=False)["extra_bytes"]
    assert found["base"] == found["merged"] == 0
    assert found["hook"] == 4 * 32
    shapes = [(32, 32), (32, 32), (32, 32), (32, 32), (64, 32), (64, 32), (32, 64)]
    assert found["adapter"] == 2 * 4 * 2 * sum(map(sum, shapes))
    assert all(resident_bytes(plan, arm) > 2**24 for arm in COST_ARMS)


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(config):
    cell = config(memory=True, rounds=1)
    cost.run(cell, ())
    found = json.loads((cell.cell / "memory.json").read_text())
    assert tuple(found["resident_bytes"]) == tuple(found["extra_bytes"]) == COST_ARMS


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"batch_sizes": []}, "batch_sizes must be at least one number"),
        ({"batch_sizes": [2, 2]}, "batch_sizes must be different"),
        ({"rounds": 0}, "rounds must be positive, got 0"),
        ({"trait": "evil"}, "trait must be one of cheerful, grim, got evil"),
        ({"trait": "grim"}, "holds no direction grim seed=0"),
    ],
)
def test_bad_input_is_named(config, keys, message):
    with pytest.raises(UserError, match=message):
        cost.run(config(**keys), ())
