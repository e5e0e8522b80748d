"""Rounds: known times and known faults are found by the path that serves real engines."""

import math
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from simulated import (
    ADAPTERS,
    BaseRowFault,
    OneInTwoHundred,
    make_plan,
    make_prompts,
    open_offline,
    opener,
    true_gaps,
)

from loradrift.config import UserError
from loradrift.serving import measure
from loradrift.serving.answers import judge
from loradrift.serving.arms import Arm
from loradrift.serving.messages import Messages
from loradrift.serving.references import make_references
from loradrift.serving.rounds import (
    WrongAnswerError,
    keep,
    measured,
    read_round,
    refuse_wrong,
    round_path,
)
from loradrift.serving.samples import answers_of
from loradrift.serving.tolerance import TOLERANCES


def test_a_round_asks_every_arm_the_same_prompts_at_every_batch_size():
    plan = make_plan(full=True)
    samples = open_offline(plan).measure(0)
    calls = {(arm.name, size) for arm in plan.arms for size in plan.batch_sizes}
    asked = {
        call: [s.prompt for s in samples if (s.arm, s.load) == call]
        for call in sorted({(s.arm, s.load) for s in samples})
    }
    assert asked.keys() == calls
    for size in plan.batch_sizes:
        assert len({tuple(asked[arm.name, size]) for arm in plan.arms}) == 1
        assert len(asked["baseline", size]) == size
    assert {s.answer for s in samples} == {"equal"} and {s.equal_tokens for s in samples} == {1}
    refuse_wrong(samples, plan)


def test_the_order_of_arms_is_another_one_in_each_round():
    plan = make_plan()
    offline = open_offline(plan)
    orders = [list(dict.fromkeys((s.arm, s.load) for s in offline.measure(i))) for i in (0, 1, 0)]
    assert orders[0] != orders[1] and orders[0] == orders[2]


def test_times_are_the_engine_s_own():
    plan = make_plan(max_tokens=100, batch_sizes=[4])
    samples = open_offline(plan, overhead=2.0).measure(0)
    seconds = {s.arm: s.call_s for s in samples}
    merged = sum(seconds[f"merged_{name}"] for name in ADAPTERS) / 4
    assert seconds["multi_2_adapters"] / merged == pytest.approx(2.0, rel=0.3)
    for sample in samples:
        assert 0 < sample.ttft_s < sample.latency_s <= sample.call_s
        assert sample.tokens == len(sample.token_times_s) == len(sample.token_ids) == 100
        assert math.isclose(sample.ttft_s, sample.token_times_s[0])


def test_engines_side_by_side_count_the_time_that_their_share_waits():
    plan = make_plan(full=True, max_tokens=50, batch_sizes=[4])
    offline = open_offline(plan)
    arm = next(arm for arm in plan.arms if arm.kind == "engines")
    samples = offline.call(arm, 4, 0)
    assert [s.asked for s in samples] == list(ADAPTERS)
    latencies = [s.latency_s for s in samples]
    assert latencies == sorted(latencies)
    assert latencies[3] > 3 * latencies[0] and latencies[3] <= samples[0].call_s


def test_one_wrong_adapter_in_two_hundred_is_caught(tmp_path):
    plan = make_plan(batch_sizes=[16], rounds=20)
    offline = open_offline(plan, {"multi": OneInTwoHundred})
    wrong = None
    for round in range(plan.rounds):
        samples = offline.measure(round)
        try:
            keep(round_path(tmp_path, round), samples, plan)
        except WrongAnswerError as error:
            wrong = str(error)
            break
    assert round == 137 // 16
    bad = [s for s in samples if s.answer == "differs"]
    assert {s.arm for s in bad} == {"multi_2_adapters", "multi_4_adapters"} and len(bad) == 2
    assert all(s.answered_by in ADAPTERS and s.answered_by != s.asked for s in bad)
    first = bad[0]
    assert f"{first.asked} was asked and {first.answered_by} answers so" in wrong
    assert f"{first.arm} at batch size 16, round {round}, request {first.request}" in wrong
    assert f"{first.asked}'s certificate: 14 checks hold" in wrong
    figures = answers_of(samples)
    assert (figures["wrong"], figures["wrong_adapter"]) == (2, 2)
    # what was measured is kept and marked, and the same command says so again
    with pytest.raises(WrongAnswerError, match="force=true measures anew"):
        measured(tmp_path, plan)


def test_base_rows_that_get_the_last_slot_s_adapter_are_caught():
    plan = make_plan(batch_sizes=[4])
    offline = open_offline(plan)
    arm = Arm("mixed", "multi", (*ADAPTERS[:2],), max_loras=2)
    offline.engines["mixed"] = BaseRowFault(plan.settings(arm), merged=None, overhead=1.0)
    asked = ("sst2", None, "mrpc", None)
    samples = offline.call(arm._replace(adapters=asked), 4, 0)
    judged = judge(samples, offline.references, offline.gaps, TOLERANCES["float32"])
    assert Counter(s.answer for s in judged) == {"equal": 2, "differs": 2}
    assert {s.answered_by for s in judged if s.asked is None} == {"mrpc"}
    with pytest.raises(WrongAnswerError, match="the base model was asked and mrpc answers so"):
        refuse_wrong(judged, plan)


def test_an_engine_that_stops_early_is_refused():
    plan = make_plan()
    offline = open_offline(plan)
    engine = offline.engines["baseline"]
    whole = engine.generate
    engine.generate = lambda requests, sampling: [
        completion.__class__(completion.id, completion.token_ids[:3], (0.1, 0.2, 0.3))
        for completion in whole(requests, sampling)
    ]
    with pytest.raises(UserError, match="with 3 tokens instead of 6"):
        offline.call(plan.arms[0], 1, 0)


def test_references_that_transformers_does_not_give_are_refused():
    plan, prompts = make_plan(), make_prompts()
    truth = true_gaps(prompts)

    def gaps(model, answers):
        found = truth(model, answers)
        if model == "mrpc":
            found[3][2] = 0.5
        return found

    with pytest.raises(UserError, match="prompt 3 with the merged model of mrpc .* 0.5 nats below"):
        make_references(plan, prompts, opener(plan), gaps)


def change(path: Path, column: str, value) -> None:
    """Another value in a row of a file that stays readable."""
    table = pq.read_table(path)
    values = [value, *table[column].to_pylist()[1:]]
    place = table.column_names.index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), path)


@pytest.mark.parametrize("writer", ["pyarrow", "pandas"])
def test_a_round_that_was_changed_is_measured_again(tmp_path, writer):
    plan = make_plan()
    offline = open_offline(plan)
    path = round_path(tmp_path, 0)
    keep(path, offline.measure(0), plan)
    assert measured(tmp_path, plan).keys() == {0}
    if writer == "pyarrow":  # it keeps what the file says of itself
        change(path, "latency_s", 1e-9)
    else:
        pd.read_parquet(path).to_parquet(path, index=False)
    with pytest.warns(UserWarning, match="round=000.parquet is damaged .its rows are not those"):
        assert measured(tmp_path, plan) == {}


def test_right_answers_that_were_changed_are_made_again(tmp_path, monkeypatch):
    """Else each answer would be a tie with them, of gap 0."""
    plan, prompts = make_plan(), make_prompts()
    monkeypatch.setattr(measure, "open_model", opener)

    def references():
        own = (tmp_path, plan, prompts, Messages(tmp_path), true_gaps(prompts), ExitStack())
        return measure.Measurement(*own).references

    first, path = references(), tmp_path / "reference.parquet"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    assert references() == first and path.stat().st_mtime_ns == written
    change(path, "token_ids", [1, 2, 3, 4, 5, 6])
    assert path.read_bytes() != content
    with pytest.warns(UserWarning, match="reference.parquet is damaged .its rows are not those"):
        assert references() == first
    assert references() == first and first.answers[None][0] != (1, 2, 3, 4, 5, 6)


def test_a_damaged_round_is_measured_again(tmp_path):
    plan = make_plan()
    offline = open_offline(plan)
    for round in range(2):
        keep(round_path(tmp_path, round), offline.measure(round), plan)
    assert measured(tmp_path, plan).keys() == {0, 1}
    assert read_round(round_path(tmp_path, 0))[0].arm in {arm.name for arm in plan.arms}
    path = round_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match=r"round=001.parquet is damaged .* made again"):
        assert measured(tmp_path, plan).keys() == {0}
