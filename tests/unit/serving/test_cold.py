"""First requests: loaded from files, swapped in, and checked like all others."""

import pytest
from simulated import (
    ADAPTERS,
    OneInTwoHundred,
    SimulatedEngine,
    make_plan,
    open_offline,
)

from loradrift.config import UserError
from loradrift.serving.cold import ColdStarts
from loradrift.serving.rounds import COLD_SAMPLES, WrongAnswerError, keep, refuse_kept


def cold_starts(*, full=False, **kinds):
    plan = make_plan(rounds=3, full=full)
    offline = open_offline(plan, kinds)
    starts = ColdStarts(plan, offline.prompts, offline.engines)
    return starts, offline.references, offline.gaps


def test_each_adapter_is_asked_first_and_again_in_every_round():
    starts, *right = cold_starts()
    samples = starts.measure(*right)
    rows = starts.rows
    assert {each.phase for each in samples} == {"cold"}
    assert {each.answer for each in samples} == {"equal"}
    assert len(samples) == len(rows) + 2  # two slots are emptied first
    requests = {(each.round, each.request) for each in samples}
    assert len(requests) == len(samples)
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


class Slots(SimulatedEngine):
    """Keeps the two adapters that were asked last; notes whether each request took a slot."""

    held: list
    loads: list

    def model_for(self, request, batch):
        self.loads = [*getattr(self, "loads", ()), request.adapter not in self.held]
        others = [name for name in self.held if name != request.adapter]
        self.held = [*others, request.adapter][-2:]
        return request.adapter


def test_a_wrong_first_answer_is_caught_and_kept(tmp_path):
    starts, *right = cold_starts(few_slots=OneInTwoHundred)
    starts.engines["multi_4_adapters_2_slots"].served = 137
    samples = starts.measure(*right)
    path = tmp_path / COLD_SAMPLES
    place = "multi_4_adapters_2_slots at first requests, round 0, request 0: rte was asked"
    with pytest.raises(WrongAnswerError, match=place):
        keep(path, samples, starts.plan)
    # it leaves a trace, though the engine may not do it again
    with pytest.raises(WrongAnswerError, match=f"{place}.*; force=true measures anew"):
        refuse_kept(tmp_path, starts.plan)
    path.write_bytes(path.read_bytes()[:50])
    refuse_kept(tmp_path, starts.plan)


def test_no_slot_is_warm_from_what_was_asked_before():
    """Before the first round the slots may hold adapters that it asks first."""
    starts, *right = cold_starts(few_slots=Slots)
    engine = starts.engines["multi_4_adapters_2_slots"]
    engine.held = ["rte", "sst2"]
    starts.measure(*right)
    rows = [row for row in starts.rows if row.arm == "multi_4_adapters_2_slots"]
    assert engine.loads[-len(rows) :] == [row.state == "cold" for row in rows]


def test_what_others_have_pushed_out_of_memory_is_apart_from_what_lacks_a_slot():
    starts, *right = cold_starts(full=True, few_in_memory=Slots)
    engine = starts.engines["multi_4_adapters_2_in_memory"]
    assert engine.settings.max_cpu_loras == engine.settings.max_loras == 2
    engine.held = ["sst2", "mrpc"]
    assert {each.answer for each in starts.measure(*right)} == {"equal"}
    rows = [row for row in starts.rows if row.arm == "multi_4_adapters_2_in_memory"]
    assert len(rows) == 3 * len(ADAPTERS) * 2
    assert engine.loads[-len(rows) :] == [row.state == "cold" for row in rows]
    assert len({(row.arm, row.round, row.adapter, row.state) for row in starts.rows}) == 3 * 24


def test_an_adapter_s_folder_that_vanishes_is_named():
    starts, *right = cold_starts()

    def vanished(name, folder):
        raise UserError(f"adapter {name}: {folder} is no folder")

    starts.engines["lora_enabled_base"].load_adapter = vanished
    with pytest.raises(UserError, match="adapter sst2: served/sst2/adapter is no folder"):
        starts.measure(*right)
