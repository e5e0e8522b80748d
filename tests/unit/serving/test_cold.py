"""First requests: loaded from files, swapped in, and checked like all others."""

import pytest
from simulated import ADAPTERS, OneInTwoHundred, make_plan, open_offline

from loradrift.config import UserError
from loradrift.serving.cold import ColdStarts
from loradrift.serving.rounds import WrongAnswerError


def cold_starts(**kinds):
    plan = make_plan(rounds=3)
    offline = open_offline(plan, kinds)
    starts = ColdStarts(plan, offline.prompts, offline.engines)
    return starts, offline.references, offline.gaps


def test_each_adapter_is_asked_first_and_again_in_every_round():
    starts, *right = cold_starts()
    rows = starts.measure(*right)
    places = {(row.round, row.arm, row.adapter, row.state) for row in rows}
    arms = ("lora_enabled_base", "multi_4_adapters_2_slots")
    assert len(rows) == len(places) == 3 * len(arms) * len(ADAPTERS) * 2
    loads = {(row.arm, row.state): row.load_s for row in rows}
    assert loads == {
        ("lora_enabled_base", "cold"): 0.001,
        ("lora_enabled_base", "warm"): 0.0,
        ("multi_4_adapters_2_slots", "cold"): 0.0,
        ("multi_4_adapters_2_slots", "warm"): 0.0,
    }
    assert all(row.ttft_s > 0 for row in rows)


def test_a_wrong_first_answer_is_caught():
    starts, *right = cold_starts(few_slots=OneInTwoHundred)
    starts.engines["multi_4_adapters_2_slots"].served = 137
    with pytest.raises(WrongAnswerError, match="multi_4_adapters_2_slots at batch size 1, round 0"):
        starts.measure(*right)


def test_an_adapter_s_folder_that_vanishes_is_named():
    starts, *right = cold_starts()

    def vanished(name, folder):
        raise UserError(f"adapter {name}: {folder} is no folder")

    starts.engines["lora_enabled_base"].load_adapter = vanished
    with pytest.raises(UserError, match="adapter sst2: served/sst2/adapter is no folder"):
        starts.measure(*right)
