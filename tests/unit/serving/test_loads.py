"""A server's loads: kept one by one, answers checked under load, rates found once."""

import json
from pathlib import Path

import pytest
from simulated import (
    BaseRowFault,
    OneInTwoHundred,
    SimulatedEngine,
    make_plan,
    make_prompts,
    opener,
    true_gaps,
)

from loradrift.config import UserError
from loradrift.serving import load as load_module
from loradrift.serving.answers import References
from loradrift.serving.load import Load
from loradrift.serving.loads import Loads, load_path
from loradrift.serving.messages import Messages
from loradrift.serving.plan import ServerPlan
from loradrift.serving.references import make_references
from loradrift.serving.rounds import WrongAnswerError, refuse_kept
from loradrift.serving.samples import Sample, read_rows
from loradrift.serving.serve import ServerPart, merged_arm, server_arms


class SimulatedServer(SimulatedEngine):
    """Answers at once, but from ten requests per second on each waits for those before it."""

    def answers(self, call, phase: str, load: float) -> Load:
        completions = self.generate(call.requests, call.sampling)
        slow = phase == "open_loop" and load >= 10
        samples = []
        for i, (prompt, request, answer) in enumerate(
            zip(call.prompts, call.requests, completions, strict=True)
        ):
            arrived = i / load if phase == "open_loop" else 0.0
            own = 0.1 + (i if slow else 0.0)
            times = [own] * len(answer.token_ids)
            asked = request.adapter or call.merged
            place = (phase, call.arm, float(load), call.round, i, prompt, asked, asked)
            samples.append(
                Sample(*place, arrived, own, own, len(times), times, list(answer.token_ids), 0.1)
            )
        return Load(samples, None)


@pytest.fixture
def loops(monkeypatch) -> list:
    """Have the loops ask simulated servers; notes each call."""
    asked: list = []

    def loop(phase):
        def ask(server, call, load):
            asked.append((phase, call.arm, load, call.round, len(call.requests)))
            return server.answers(call, phase, load)

        return ask

    for name in ("closed_loop", "open_loop"):
        monkeypatch.setattr(load_module, name, loop(name))
    return asked


def make_loads(folder: Path, kind=SimulatedServer, *, full=True, rates=()) -> Loads:
    plan = make_plan(full=full, rounds=2)
    prompts = make_prompts()
    gaps = true_gaps(prompts)
    references = References.of(make_references(plan, prompts, opener(plan), gaps))
    arms = server_arms(plan)
    names = max((arm.adapters for arm in arms), key=len)
    lora = kind(plan.settings(arms[-1]._replace(adapters=names)), merged=None, overhead=1.0)
    servers = {arm.name: lora for arm in arms}
    if (merged := merged_arm(plan)) is not None:
        own = plan.settings(merged, merged.adapters[0])
        servers[merged.name] = SimulatedServer(own, merged=merged.adapters[0], overhead=1.0)
    server = ServerPlan((1, 4), 2, tuple(rates), None, 300.0)
    return Loads(plan, server, prompts, folder, references, gaps, servers)


def test_the_arms_of_a_server():
    few, full = make_plan(), make_plan(full=True)
    assert {arm.name for arm in server_arms(few)} == {
        "single_adapter", "multi_2_adapters", "lora_enabled_base",
    }  # fmt: skip
    assert merged_arm(few) is None
    assert "multi_4_adapters" in {arm.name for arm in server_arms(full)}
    assert merged_arm(full).name == "merged_sst2"


def test_each_number_of_clients_is_a_file_of_all_arms(loops, tmp_path):
    loads = make_loads(tmp_path)
    loads.closed_loops(0)
    loads.closed_loops(1)
    for clients in (1, 4):
        for round in (0, 1):
            samples = read_rows(load_path(tmp_path, "closed_loop", clients, round), Sample)
            assert {s.arm for s in samples} == set(loads.servers)
            assert len(samples) == len(loads.servers) * clients * 2
            assert {s.answer for s in samples} == {"equal"}
            assert {s.asked for s in samples if s.arm == "merged_sst2"} == {"sst2"}
            assert {s.asked for s in samples if s.arm == "lora_enabled_base"} == {None}
    before = len(loops)
    load_path(tmp_path, "closed_loop", 4, 1).unlink()
    loads.closed_loops(1)  # only what is not there
    again = loops[before:]
    assert {load for _, _, load, _, _ in again} == {4} and len(again) == len(loads.servers)


def test_wrong_answers_under_load_are_caught_and_kept(loops, tmp_path):
    class Faulty(SimulatedServer, OneInTwoHundred):
        pass

    loads = make_loads(tmp_path, Faulty)
    loads.servers["multi_2_adapters"].served = 130
    with pytest.raises(WrongAnswerError, match=r"at concurrency \d, round \d.* was asked and"):
        for round in range(10):
            loads.closed_loops(round)
    kept = [read_rows(path, Sample) for path in (tmp_path / "server").glob("closed*")]
    assert any(sample.answer == "differs" for samples in kept for sample in samples)
    with pytest.raises(WrongAnswerError, match="force=true measures anew"):
        refuse_kept(tmp_path, loads.plan)


def test_a_server_whose_base_rows_get_an_adapter_is_caught(loops, tmp_path):
    class Faulty(SimulatedServer, BaseRowFault):
        pass

    with pytest.raises(WrongAnswerError, match="the base model was asked and squad_v2 answers so"):
        make_loads(tmp_path, Faulty).closed_loops(0)


def test_rates_double_until_a_server_is_saturated_and_are_found_once(loops, tmp_path):
    loads = make_loads(tmp_path)
    loads.open_loops(0)
    rates = json.loads((tmp_path / "server" / "rates.json").read_text())
    assert rates.keys() == loads.servers.keys()
    # one request takes 0.1 s: the first rate is 5 per second, and 10 saturates
    assert [rate for rate, _ in rates["multi_2_adapters"]] == [5.0, 10.0]
    assert all(count >= 8 for own in rates.values() for _, count in own)
    assert load_path(tmp_path, "open_loop", 10.0, 0).is_file()
    loops.clear()
    make_loads(tmp_path).open_loops(1)
    assert {(phase, load) for phase, _, load, _, _ in loops} == {
        ("open_loop", 5.0), ("open_loop", 10.0),
    }  # fmt: skip


def test_a_lone_request_that_is_slow_by_chance_chooses_no_rates(loops, tmp_path):
    class Slow(SimulatedServer):
        def answers(self, call, phase, load):
            made = super().answers(call, phase, load)
            late = [each._replace(latency_s=9.0) for each in made.samples[:1]]
            return Load(late + made.samples[1:], None)

    rates = make_loads(tmp_path, Slow, full=False).find_rates()
    assert {own[0][0] for own in rates.values()} == {5.0}
    assert len(read_rows(tmp_path / "server" / "search" / "alone.parquet", Sample)) == 5


def test_wrong_answers_of_the_search_for_rates_are_caught_and_kept(loops, tmp_path):
    class Faulty(SimulatedServer):
        def model_for(self, request, batch):
            return "rte" if len(batch) >= 20 else request.adapter

    loads = make_loads(tmp_path, Faulty)
    loads.closed_loops(0)  # none of these has so many requests
    with pytest.raises(WrongAnswerError, match="at requests per second 10, round 0, request"):
        loads.find_rates()
    assert not (tmp_path / "server" / "rates.json").exists()
    with pytest.raises(WrongAnswerError, match="force=true measures anew"):
        refuse_kept(tmp_path, loads.plan)


def test_a_rate_at_which_requests_fail_is_left_out(loops, tmp_path):
    class Full(SimulatedServer):
        def answers(self, call, phase, load):
            made = super().answers(call, phase, load)
            if phase == "open_loop" and load > self.most:
                return Load(made.samples[:1], UserError("1 of 2 requests failed"))
            return made

    Full.most = 7
    loads = make_loads(tmp_path, Full, full=False)
    assert {rate for own in loads.find_rates().values() for rate, _ in own} == {5.0}
    loads.open_loops(0)
    Full.most = 3
    with pytest.raises(UserError, match="1 of 2 requests failed"):
        make_loads(tmp_path / "again", Full, full=False).find_rates()


def test_a_server_that_ends_at_a_rate_is_not_saturated_by_it(loops, tmp_path):
    class Ending(SimulatedServer):
        ended = False

        def answers(self, call, phase, load):
            self.ended |= phase == "open_loop" and load > 7
            if self.ended:
                return Load([], UserError("the server was ended by signal 9"))
            return super().answers(call, phase, load)

    with pytest.raises(UserError, match="ended by signal 9"):
        make_loads(tmp_path, Ending, full=False).find_rates()
    assert not (tmp_path / "server" / "rates.json").exists()


def test_rates_that_are_typed_are_not_searched_for(loops, tmp_path):
    loads = make_loads(tmp_path, rates=(3.0,))
    loads.open_loops(0)
    assert {(phase, load, n) for phase, _, load, _, n in loops} == {("open_loop", 3.0, 8)}


def test_a_request_that_fails_ends_the_load(loops, tmp_path, monkeypatch):
    loads = make_loads(tmp_path)
    failed = Load([], UserError("1 of 2 requests failed; the server's log says: killed"))
    monkeypatch.setattr(load_module, "closed_loop", lambda *given: failed)
    with pytest.raises(UserError, match="1 of 2 requests failed; the server's log says: killed"):
        loads.closed_loops(0)
    assert not load_path(tmp_path, "closed_loop", 1, 0).exists()


def test_the_part_is_done_when_every_load_is_there(loops, tmp_path):
    loads = make_loads(tmp_path)
    own = (tmp_path, loads.plan, loads.server, loads.prompts, Messages(tmp_path))
    part = ServerPart(*own)
    for round in range(2):
        assert part.samples() is None
        loads.closed_loops(round)
    assert part.samples() is None  # with full, request rates too
    for round in range(2):
        loads.open_loops(round)
    assert part.samples() is None  # what the servers took is not noted
    (tmp_path / "events.json").write_text('{"server": {}, "merged_server": {}}')
    samples = part.samples()
    assert {sample.phase for sample in samples} == {"closed_loop", "open_loop", "rate_search"}
    load_path(tmp_path, "closed_loop", 1, 0).write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is damaged"):
        assert part.samples() is None
