"""Break-even and advice: from known costs to what to set, and what is not said."""

import json
from dataclasses import replace

import pytest
from serving_cells import ADAPTERS, ARMS, FEW, Simulated, arm

from loradrift.analysis.serving.advice import advise, untold
from loradrift.analysis.serving.memory import break_even, memory_table
from loradrift.analysis.serving.plans import read_plan
from loradrift.analysis.serving.reading import read_cell
from loradrift.analysis.serving.section_tables import arms_table
from loradrift.analysis.serving.summary import arm_table
from loradrift.analysis.serving.tables import measure
from loradrift.analysis.serving.text import cost

ENGINES = arm("n_merged_engines", "engines", *ADAPTERS)


def cell(**changes):
    return Simulated(**{**FEW, "served_kinds": (), **changes})


def even_of(merged, side_by_side, engines=None, key="memory_gb"):
    """The break-even of known memory: {adapters: GB} of one engine."""
    names = {1: "single_adapter", 2: "multi_2_adapters", 4: "multi_4_adapters"}
    memory = {f"merged_{name}": {key: merged} for name in ADAPTERS}
    memory |= {names[count]: {key: value} for count, value in side_by_side.items()}
    if engines is not None:
        memory["n_merged_engines"] = {key: engines}
    plan = read_plan(cell(arms=(*ARMS, ENGINES)).plan())
    return break_even(memory_table(memory, plan), plan)


@pytest.mark.parametrize(
    ("merged", "fixed", "adapter", "least"),
    [(1.0, 1.1, 0.05, 2), (1.0, 0.9, 0.05, 1), (1.0, 4.1, 0.5, 9), (1.0, 1.0, 1.0, None)],
)
def test_break_even_is_the_least_count_with_less_memory(merged, fixed, adapter, least):
    found = even_of(merged, {n: fixed + adapter * n for n in (1, 2, 4)})
    assert found.adapters == least
    for n in range(1, 20):
        assert (found.one_engine(n) < found.merged_engines(n)) == (least is not None and n >= least)
    assert (found.fixed, found.adapter) == pytest.approx((fixed, adapter))


def test_merged_engines_measured_together_share_pages():
    found = even_of(1.0, {1: 1.1, 2: 1.2, 4: 1.4}, engines=2.5)
    assert found.measured == 4 and found.merged_engines(4) == pytest.approx(2.5)
    assert found.merged_engines(1) == pytest.approx(1.0)
    assert found.merged_engines(3) == pytest.approx(2.0)


def test_one_arm_side_by_side_has_no_slope():
    found = even_of(1.0, {2: 1.3})
    assert found.one_engine(4) == pytest.approx(1.3) and found.adapters == 2


def test_memory_of_a_gpu_is_its_peak():
    assert even_of(1.0, {1: 1.1, 2: 1.2}, key="gpu_peak_gb").column == "gpu_peak_gb"


def test_without_merged_memory_there_is_no_break_even():
    plan = read_plan(cell().plan())
    memory = {"multi_2_adapters": {"memory_gb": 1.0}}
    assert break_even(memory_table(memory, plan), plan) is None
    assert break_even(memory_table({}, plan), plan) is None


def measured(tmp_path, **changes):
    return measure(read_cell(cell(**changes).write(tmp_path / "runs")), seed=0)


SPARE = "; 5 where the base model is asked beside adapters"
"""On a CPU."""


def values(found):
    return {each.setting: each.value for each in advise(found)}


def test_costs_that_are_there_are_avoided(tmp_path):
    found = measured(tmp_path)
    assert values(found) == {
        "merge or not": "side by side from 2 adapters on if memory matters more, "
        "merged if time matters more",
        "max_loras": f"4: a slot for every adapter{SPARE}",
        "max_cpu_loras": "4 or more: all that are asked for",
        "max_lora_rank": "8: the adapters' own",
    }
    said = {each.setting: each.because for each in advise(found)}
    assert "4 adapters in one engine take 1.8" in said["merge or not"]
    assert "4 merged engines 2.48 GB (4 times one)" in said["merge or not"]
    assert "declaring 64 for rank 8 takes 1.1" in said["max_lora_rank"]
    assert "the system keeps in memory after the first round" in said["max_cpu_loras"]
    assert "answer in turn" not in arms_table(found).caption, "there are no such engines"


def test_costs_that_are_not_there_are_not_claimed(tmp_path):
    free = dict.fromkeys(Simulated().slower, 1.0)
    found = measured(tmp_path, slower=free)
    chosen = values(found)
    assert chosen["merge or not"].endswith("side by side costs little time")
    assert chosen["max_loras"] == f"2 or more{SPARE}"
    said = {each.setting: each.because for each in advise(found)}
    assert all("less than 10 % longer)" in said[each] for each in ("max_loras", "max_lora_rank"))


def test_few_rounds_decide_nothing(tmp_path):
    found = measured(tmp_path, rounds=3)
    chosen = values(found)
    assert chosen["merge or not"].endswith("by time undecided")
    assert chosen["max_loras"].startswith("4, if in doubt: "), "the cautious choice"
    assert chosen["max_cpu_loras"] == "4 or more, if in doubt"
    assert all("undecided" in each.because and "3 rounds" in each.because for each in advise(found))


@pytest.mark.parametrize(
    ("low", "high", "rounds", "says"),
    [
        (1.001, 2.0, 5, "shown"),
        (1.001, 1.10, 5, "shown"),
        (1.001, 1.099, 5, "small"),
        (1.0, 1.05, 5, "small"),
        (0.5, 1.099, 5, "small"),
        (0.5, 0.909, 5, "saves"),
        (0.5, 0.91, 5, "small"),
        (0.99, 1.10, 5, "undecided"),
        (0.9, 1.2, 5, "undecided"),
        (1.5, 1.6, 4, "undecided"),
        (float("nan"), float("nan"), 1, "undecided"),
    ],
)
def test_a_cost_is_read_from_its_interval(low, high, rounds, says):
    assert cost({"low": low, "high": high, "rounds": rounds}) == says


def test_a_spare_slot_is_for_the_base_model_and_says_why(tmp_path):
    """The CPU kernels look the base up in the last slot; those of a GPU do not."""
    said = {each.setting: each.because for each in advise(measured(tmp_path))}
    assert "so one slot has to stay empty" in said["max_loras"]
    on_gpu = measured(tmp_path / "gpu", accelerator="gpu")
    assert values(on_gpu)["max_loras"] == "4: a slot for every adapter"


def test_what_is_undecided_is_the_time_and_not_the_memory(tmp_path):
    found = measured(tmp_path, rounds=3)
    said = {each.setting: each.because for each in advise(found)}
    assert ": undecided with 3 rounds), and 11 MB more of memory" in said["max_lora_rank"]


def test_memory_of_a_gpu_is_what_is_advised_and_shown(tmp_path):
    """The process's own memory differs too, in another direction."""
    folder = cell().write(tmp_path / "runs")
    path = folder / "memory.json"
    memory = json.loads(path.read_text())
    for place, each in enumerate(memory.values()):
        each["gpu_peak_gb"] = 2.0 + 0.5 * place
    path.write_text(json.dumps(memory))
    found = measure(read_cell(folder), seed=0)
    names = list(memory)
    more = 500 * (names.index("multi_2_adapters_rank_64") - names.index("multi_2_adapters"))
    said = {each.setting: each.because for each in advise(found)}
    assert f"and {more} MB more of the GPU's memory" in said["max_lora_rank"]
    shown = arm_table(found).set_index("arm")["GPU memory (GB)"]
    assert shown["2 adapters"] == 2.0 + 0.5 * names.index("multi_2_adapters")
    assert "peak of the GPU's" in arms_table(found).caption


@pytest.mark.parametrize("engines", [3.0, 1.2])
def test_engines_that_wait_for_each_other_decide_nothing(tmp_path, engines):
    """One engine of four adapters takes 1.85 times a merged model; four merged ones, as given."""
    slower = Simulated().slower | {"engines": engines}
    found = measured(tmp_path, arms=(*ARMS, ENGINES), slower=slower)
    assert values(found)["merge or not"].endswith("merged if time matters more")
    [because] = [each.because for each in advise(found) if each.setting == "merge or not"]
    assert "as 4 merged engines that share the requests and answer in turn" in because
    assert "which decides nothing" in because
    assert "(a process each)" in because, "and not of the one in which they answer"
    for said in (" ".join(untold(found)), arms_table(found).caption):
        assert "Merged engines answer in turn, in one process; their memory is that of a " in said


def test_wrong_answers_give_no_advice(tmp_path):
    found = measured(tmp_path)
    assert advise(found._replace(answers=found.answers._replace(wrong=1))) == []


def test_arms_that_were_not_measured_give_no_advice(tmp_path):
    found = measured(tmp_path, arms=ARMS[:-2])
    assert "max_loras" not in values(found) and "max_lora_rank" not in values(found)


def test_what_the_data_cannot_tell(tmp_path):
    found = measured(tmp_path)
    said = " ".join(untold(found))
    assert "These are times of CPU reference kernels" in said
    assert "the model's weights are 0.0037 GB" in said
    assert "most of a call's time is the engine's own work" in said
    halved = replace(found.cell, plan=replace(found.cell.plan, dtype="bfloat16"))
    assert any("weights are 0.0019 GB" in line for line in untold(found._replace(cell=halved)))
    assert "Merged engines beside each other were not measured" in said
    plan = replace(found.cell.plan, accelerator="gpu", model={"parameters": 10**9})
    on_gpu = found._replace(cell=replace(found.cell, plan=plan))
    assert not any("GPU" in line or "weights" in line for line in untold(on_gpu))
