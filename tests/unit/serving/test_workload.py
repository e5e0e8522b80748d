"""Prompts, mixes, arms, and the files that describe them."""

from collections import Counter

import numpy as np
import pytest
from simulated import make_plan, make_prompts

from loradrift.config import UserError
from loradrift.serving.arms import Arm, make_arms, round_up
from loradrift.serving.config import ServingConfig
from loradrift.serving.plan import read_plan, read_prompts, write_plan, write_prompts
from loradrift.serving.samples import ColdStart, read_rows, write_rows
from loradrift.serving.workload import Workload, shuffled

NAMES = ("a", "b", "c", "d")
TASKS = ["sst2"] * 20 + ["mrpc"] * 20 + ["rte"] * 10


def shares(mix: str, rounds: int = 300, size: int = 16) -> dict[str, float]:
    work = Workload(mix, TASKS, seed=3)
    drawn = Counter(name for i in range(rounds) for name in work.assign(NAMES, i, size))
    return {name: drawn[name] / (rounds * size) for name in NAMES}


def test_each_mix_has_its_shares():
    even = dict.fromkeys(NAMES, 0.25)
    assert shares("round_robin") == even
    assert shares("uniform") == pytest.approx(even, abs=0.02)
    weights = np.array([1, 1 / 2, 1 / 3, 1 / 4])
    wanted = dict(zip(NAMES, weights / weights.sum(), strict=True))
    assert shares("zipf") == pytest.approx(wanted, abs=0.02)
    assert shares("one_hot") == {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}


def test_round_robin_gives_single_requests_to_every_adapter():
    work = Workload("round_robin", TASKS, seed=0)
    assert {work.assign(NAMES, i, 1)[0] for i in range(4)} == set(NAMES)


def test_prompts_are_of_all_tasks_and_others_in_each_round():
    work = Workload("uniform", TASKS, seed=0)
    first, second = (work.prompts(round, 6) for round in (0, 1))
    assert first != second and first == Workload("zipf", TASKS, seed=0).prompts(0, 6)
    assert first[:3] == work.prompts(0, 3)
    assert Counter(TASKS[i] for i in first) == {"sst2": 2, "mrpc": 2, "rte": 2}
    everything = work.prompts(0, 50)
    assert sorted(everything) == list(range(50)) and work.prompts(0, 60)[50:] == everything[:10]


def test_calls_are_shuffled_by_seed_and_round():
    calls = [(name, float(size)) for name in NAMES for size in (1, 2)]
    orders = [tuple(shuffled(calls, *place)) for place in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert len(set(orders)) == 3 and orders[0] == orders[3]
    assert all(sorted(order) == sorted(calls) for order in orders)


def test_the_arms_of_four_adapters():
    arms = make_arms(NAMES, 8, "vllm", ServingConfig(full=True))
    assert [arm.name for arm in arms] == [
        "baseline", "merged_a", "merged_b", "merged_c", "merged_d", "single_adapter",
        "multi_2_adapters", "multi_4_adapters", "lora_enabled_base", "multi_2_adapters_rank_64",
        "multi_4_adapters_2_slots", "multi_4_adapters_2_in_memory", "n_merged_engines",
    ]  # fmt: skip
    by_name = {arm.name: arm for arm in arms}
    assert by_name["multi_4_adapters"].max_loras == 4
    assert by_name["multi_2_adapters_rank_64"][3:] == (2, None, 64)
    assert by_name["multi_4_adapters_2_slots"][2:] == (NAMES, 2, 4, None)
    assert by_name["multi_4_adapters_2_in_memory"][1:] == ("few_in_memory", NAMES, 2, 2, None)
    few = make_arms(NAMES, 8, "vllm", ServingConfig())  # minutes: without it
    assert {arm.name for arm in arms} - {arm.name for arm in few} == {
        "multi_4_adapters_2_in_memory", "n_merged_engines",
    }  # fmt: skip
    assert by_name["lora_enabled_base"][2:] == ((), 1, None, 8)
    assert {arm.name for arm in arms if not arm.lora} == {
        "baseline", *(f"merged_{name}" for name in NAMES), "n_merged_engines",
    }  # fmt: skip


def test_arms_that_would_measure_nothing_are_left_out():
    names = [arm.name for arm in make_arms(NAMES[:2], 60, "vllm", ServingConfig(adapters=[1, 2]))]
    assert not any("rank" in name or "slots" in name for name in names)
    kinds = {arm.kind for arm in make_arms(NAMES, 8, "hf", ServingConfig(full=True))}
    assert kinds == {"baseline", "merged", "single", "multi"}
    many = [f"a{i}" for i in range(32)]
    arms = make_arms(many, 8, "vllm", ServingConfig(adapters=[8, 32]))
    assert sum(arm.kind == "merged" for arm in arms) == 4
    assert next(arm for arm in arms if arm.kind == "few_slots").name == "multi_32_adapters_2_slots"
    assert [round_up(rank) for rank in (1, 2, 8, 33, 512, 600)] == [1, 8, 8, 64, 512, 600]


def test_a_plan_and_its_prompts_are_read_as_they_were_written(tmp_path):
    plan = make_plan(full=True, cannot_tell_apart=(("sst2", "mrpc", 1.0),))
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    write_prompts(tmp_path, make_prompts())
    assert read_prompts(tmp_path) == make_prompts()
    (tmp_path / "plan.json").write_text('{"schema": 1}')
    with pytest.raises(UserError, match="plan.json is damaged: 'adapters'"):
        read_plan(tmp_path)
    (tmp_path / "prompts.json").write_text("[")
    with pytest.raises(UserError, match="prompts.json is damaged"):
        read_prompts(tmp_path)


def test_the_engine_of_an_arm():
    plan = make_plan()
    arms = {arm.name: arm for arm in plan.arms}
    merged = plan.settings(arms["merged_mrpc"], "mrpc")
    assert (str(merged.model), merged.lora, merged.adapters) == ("served/mrpc/merged", False, {})
    several = plan.settings(arms["multi_2_adapters"])
    assert {name: str(folder) for name, folder in several.adapters.items()} == {
        "sst2": "served/sst2/adapter",
        "mrpc": "served/mrpc/adapter",
    }
    assert str(several.model) == "base" and several.max_length == 14
    enabled = plan.settings(arms["lora_enabled_base"])
    assert enabled.lora and not enabled.adapters and enabled.max_lora_rank == 8


def test_rows_with_other_columns_are_refused(tmp_path):
    rows = [ColdStart(0, "x", "sst2", "cold", 0.1, 0.2)]
    write_rows(tmp_path / "cold.parquet", ColdStart, rows)
    assert read_rows(tmp_path / "cold.parquet", ColdStart) == rows
    with pytest.raises(ValueError, match="its columns are round, arm"):
        read_rows(tmp_path / "cold.parquet", Arm)
