"""From a cell's files to its verdict: what is right, unfinished, wrong or damaged."""

import json
from dataclasses import replace

import numpy as np
import pytest
from serving_cells import ARMS, FEW, Simulated, verdict_of

from loradrift.analysis.serving.latencies import described
from loradrift.analysis.serving.plans import Adapter, read_plan
from loradrift.analysis.serving.reading import read_cell, read_cells
from loradrift.analysis.serving.verdict import h3_sentence
from loradrift.config import UserError
from loradrift.runs.record import Status


def simulated(**changes):
    return Simulated(**{**FEW, "served_kinds": (), **changes})


def written(tmp_path, **changes):
    return simulated(**changes).write(tmp_path / "runs")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slower": {"multi": 1.1}}, "H3 (at most 30 % overhead) is supported."),
        ({"slower": {"multi": 1.6}}, "H3 (at most 30 % overhead) is refuted."),
        ({"slower": {"multi": 1.3}}, "is undecided: the interval holds 1.30."),
        ({"rounds": 4}, "undecided: 4 rounds, and a verdict takes at least 5."),
        ({"rounds": 1}, "no interval; 1 round): H3 (at most 30 % overhead) is undecided: 1 round,"),
        ({"batch_sizes": (1, 4)}, "no verdict: no round has both multi_2_adapters and the merged"),
        ({"arms": ARMS[:-4]}, "no verdict: no round has both multi_2_adapters and the merged"),
        ({}, "On generated data and a 0.93 M-parameter Llama (tiny) (vLLM, CPU reference kernels"),
        ({"generated": False}, "On real data and"),
        ({"dtype": "bfloat16"}, "CPU reference kernels, bf16)"),
    ],
)
def test_verdict_says_what_it_stands_for(tmp_path, changes, says):
    slower = simulated().slower | changes.get("slower", {})
    cell = read_cell(written(tmp_path, **{**changes, "slower": slower}))
    assert says in h3_sentence(cell, verdict_of(cell))


def test_the_interval_of_h3_at_its_border(tmp_path):
    """The verdict is read from the interval's end, not from the estimate."""
    cell = simulated(own_noise=0.05, slower=simulated().slower | {"multi": 1.29})
    found = verdict_of(read_cell(cell.write(tmp_path / "runs")))
    assert found.ratio < 1.30 < found.high and found.verdict == "undecided"


def test_h3_has_the_numbers_of_the_rounds_that_were_read(tmp_path):
    folder = written(tmp_path, rounds=6)
    (folder / "rounds" / "round=001.parquet").write_bytes(b"damaged")
    assert verdict_of(read_cell(folder)).of_rounds == (0, 2, 3, 4, 5)


def trained(*origins):
    """Adapters of some origins; ``random`` has random factors."""
    return tuple(
        Adapter(name=str(i), label="my_adapter", rank=8, drawn=each == "random",
                data=each if each in ("generated", "real") else None)
        for i, each in enumerate(origins)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("adapters", "prompts", "rows", "says"),
    [
        (("generated",), "tasks", "generated", "generated data"),
        (("real", "real"), "tasks", "real", "real data"),
        (("real", "random"), "tasks", "real", "real data and adapters with random factors"),
        (("unknown",), "fixed", None, "adapters of unknown data, prompts of drawn tokens"),
        (("unknown",), "tasks", "generated", "adapters of unknown data, prompts of generated data"),
        (("real",), "fixed", None, "adapters of real data, prompts of drawn tokens"),
        (("random",), "tasks", "generated",
         "adapters with random factors, prompts of generated data"),
        (("generated", "real"), "tasks", "generated and real",
         "adapters of generated data, adapters of real data, prompts of generated and real data"),
    ],
)  # fmt: skip
def test_nothing_is_called_real_that_may_not_be(adapters, prompts, rows, says):
    plan = read_plan(simulated().plan())
    changed = replace(plan, adapters=trained(*adapters), prompts=prompts, prompt_data=rows)
    assert changed.data() == says


@pytest.mark.parametrize(
    ("generated", "says"),
    [(True, "generated data"), (False, "adapters of unknown data, prompts of unknown data")],
)
def test_a_plan_of_before_origins_were_written_is_read(generated, says):
    saved = simulated(generated=generated).plan()
    del saved["prompt_data"]
    for each in saved["adapters"]:
        del each["data"]
    assert read_plan(saved).data() == says


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rounds/round=001.parquet", "round=001.parquet is damaged"),
        ("cold.parquet", "cold.parquet is damaged"),
        ("memory.json", "memory.json is damaged"),
    ],
)
def test_a_damaged_file_is_one_line_and_the_others_are_used(tmp_path, name, says):
    folder = written(tmp_path)
    (folder / name).write_bytes(b"[]not")
    cell = read_cell(folder)
    [problem] = cell.problems
    assert says in problem and "\n" not in problem
    assert cell.rounds == (4 if "rounds" in name else 5)
    assert bool(cell.marks) == ("rounds" in name)
    assert verdict_of(cell).rounds == cell.rounds


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (lambda plan: plan | {"schema": 2}, "it has schema 2, and this program reads schema 1"),
        (lambda plan: {k: v for k, v in plan.items() if k != "arms"}, "it lacks arms"),
        (lambda plan: plan | {"model": {"name": "tiny"}}, "it lacks model.label"),
        (lambda plan: {k: v for k, v in plan.items() if k != "dtype"}, "'dtype'"),
        (lambda plan: [], "plan.json"),
    ],
)
def test_a_cell_of_another_schema_is_one_line(tmp_path, plan, says):
    folder = written(tmp_path)
    written(tmp_path, model="smollm2")
    path = folder / "plan.json"
    path.write_text(json.dumps(plan(json.loads(path.read_text()))))
    cells, [problem] = read_cells(tmp_path / "runs")
    assert [cell.name for cell in cells] == ["vllm/smollm2"]
    assert says in problem and problem.endswith("the cell is left out") and "\n" not in problem


def test_no_cell_says_what_measures_one(tmp_path):
    with pytest.raises(UserError, match=r"holds no cell .*: `python benchmark.py` measures one"):
        read_cells(tmp_path)


def test_the_first_cell_is_of_vllm_finished_and_the_newest(tmp_path):
    for changes in (
        {"model": "a", "ended": "2026-08-03T00:00:00+00:00", "status": Status.INTERRUPTED},
        {"model": "b", "ended": "2026-08-01T00:00:00+00:00"},
        {"model": "c", "ended": "2026-08-02T00:00:00+00:00"},
        {"model": "d", "ended": "2026-08-04T00:00:00+00:00", "engine": "hf"},
    ):
        written(tmp_path, rounds=1, **changes)
    cells, _ = read_cells(tmp_path / "runs")
    assert [cell.name for cell in cells] == ["vllm/c", "vllm/b", "vllm/a", "hf/d"]


def test_percentiles_interpolate_between_order_statistics():
    """By the formula of Hyndman and Fan's type 7, written out."""
    values = np.array([5.0, 1.0, 9.0, 2.0])
    ordered, found = sorted(values), described(values)
    for percent in (50, 95, 99):
        place = percent / 100 * (len(values) - 1)
        low, part = int(place), place % 1
        assert found[f"p{percent}"] == pytest.approx(
            ordered[low] + part * (ordered[min(low + 1, 3)] - ordered[low])
        )
