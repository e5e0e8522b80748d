"""What a load makes of a server's answers, and when a server is saturated; vLLM is not needed."""

import math
from types import SimpleNamespace

import pytest

from loradrift.config import UserError
from loradrift.generation.base import Request, Sampling
from loradrift.generation.completions import Answer
from loradrift.serving import load as loads
from loradrift.serving.load import Call, Load, closed_loop, open_loop, saturated, sweep
from loradrift.serving.load_generator import Generated
from loradrift.serving.samples import Sample

ADAPTERS = ["sst2", "mrpc", "sst2", None]
CALL = Call(
    arm="multi_2_adapters",
    round=3,
    prompts=[7, 5, 7, 2],
    requests=[Request(str(i), (i + 1,), name) for i, name in enumerate(ADAPTERS)],
    sampling=Sampling(max_tokens=3, seed=11),
)


class SimulatedServer:
    """Names the model in each request's body, as the real one does."""

    url, headers = "http://somewhere", {"Authorization": "Bearer key"}

    def __init__(self):
        self.events = []
        self.process = SimpleNamespace(failure=lambda what: UserError(f"{what}; it has ended"))

    def check(self, requests, *, max_tokens):
        self.events.append(("check", len(requests), max_tokens))

    def generate(self, requests, sampling):
        self.events.append(("warm", [each.adapter for each in requests]))

    def asked(self, request, sampling):
        return {"model": request.adapter or "base", "prompt": list(request.prompt_ids)}

    def adapter_of(self, model):
        return None if model == "base" else model


def answer(model, *, submitted=100.0, times=(0.5, 0.75, 1.0), error=""):
    return Answer(submitted, model, [4, 5, 6][: len(times)], list(times), error)


@pytest.fixture
def server():
    return SimulatedServer()


@pytest.fixture
def generated(monkeypatch, server):
    """Have the generator give these answers; notes how it was called."""

    def give(*answers):
        def generate_load(url, headers, bodies, **how):
            server.events.append((url, headers, [body["model"] for body in bodies], how))
            return Generated(list(answers), began=98.0, duration=4.0)

        monkeypatch.setattr(loads, "generate_load", generate_load)

    return give


def test_a_row_for_each_request(server, generated):
    generated(*(answer(name or "base", submitted=99.0 + i) for i, name in enumerate(ADAPTERS)))
    load = closed_loop(server, CALL, 2)
    assert load.error is None
    assert load.samples[2] == Sample(
        phase="closed_loop", arm="multi_2_adapters", load=2.0, round=3, request=2, prompt=7,
        asked="sst2", served="sst2", submitted_s=3.0, ttft_s=0.5, latency_s=1.0, tokens=3,
        token_times_s=[0.5, 0.75, 1.0], token_ids=[4, 5, 6], call_s=4.0,
    )  # fmt: skip
    assert [(each.asked, each.served) for each in load.samples] == [(a, a) for a in ADAPTERS]
    assert [each.prompt for each in load.samples] == CALL.prompts


def test_each_model_that_is_asked_for_answers_once_before(server, generated):
    generated(*(answer("base") for _ in ADAPTERS))
    closed_loop(server, CALL, 2)
    assert server.events[:2] == [("check", 4, 3), ("warm", ["sst2", "mrpc", None])]
    url, headers, models, how = server.events[2]
    assert (url, headers) == (server.url, server.headers)
    assert models == ["sst2", "mrpc", "sst2", "base"]
    assert (how["concurrency"], how["rate"]) == (2, math.inf)


def test_arrivals_depend_on_seed_and_round_alone(server, generated):
    generated(*(answer("base") for _ in ADAPTERS))
    for call in (
        CALL,
        CALL._replace(arm="another"),
        CALL._replace(round=4),
        CALL._replace(sampling=Sampling(max_tokens=3, seed=12)),
    ):
        load = open_loop(server, call, 2.5)
        assert {(each.phase, each.load) for each in load.samples} == {("open_loop", 2.5)}
    hows = [event[3] for event in server.events if event[0] == server.url]
    assert all((how["concurrency"], how["rate"]) == (None, 2.5) for how in hows)
    seeds = [how["seed"] for how in hows]
    assert seeds[0] == seeds[1]
    assert len({seeds[0], seeds[2], seeds[3]}) == 3


def test_a_server_that_names_another_model_shows_in_the_row(server, generated):
    generated(answer("mrpc"), answer("mrpc"), answer("base"), answer("sst2"))
    rows = closed_loop(server, CALL, 2).samples
    assert [each.served for each in rows] == ["mrpc", "mrpc", None, "sst2"]
    assert [each.asked for each in rows] == ADAPTERS


def test_a_merged_model_s_rows_say_which_adapter_is_in_it(server, generated):
    call = CALL._replace(requests=[Request("0", (1,))], prompts=[3], merged="rte")
    generated(answer("base"))
    [row] = closed_loop(server, call, 1).samples
    assert (row.asked, row.served) == ("rte", "rte")
    generated(answer("sst2"))
    assert closed_loop(server, call, 1).samples[0].served == "sst2"


def test_requests_that_fail_are_counted_and_named_and_the_others_kept(server, generated):
    broken = answer("mrpc", times=(0.5,), error="the connection broke after 1 tokens")
    generated(answer("sst2"), broken, answer("sst2", times=(0.5, 0.75)), answer("base"))
    load = closed_loop(server, CALL, 2)
    assert [each.request for each in load.samples] == [0, 3]
    assert str(load.error) == (
        "2 of 4 requests failed, the first of them request 1 to mrpc: the connection broke after "
        "1 tokens; it has ended"
    )


def test_an_answer_may_end_before_where_that_is_asked(server, generated):
    call = CALL._replace(sampling=Sampling(max_tokens=3, ignore_eos=False))
    answers = [answer("base", times=(0.5, 0.75)) for _ in range(3)]
    generated(*answers, answer("base", times=()))
    load = closed_loop(server, call, 2)
    assert [each.tokens for each in load.samples] == [2, 2, 2]
    assert str(load.error).startswith(
        "1 of 4 requests failed, the first of them request 3 to the base model: the answer has 0 "
        "tokens instead of 3"
    )


def load_of(rate, latencies, error=None) -> Load:
    """Requests that arrive evenly, ``rate`` a second, each with its latency."""
    row = Sample("open_loop", "a", 1.0, 0, 0, 0, None, None, 0.0, 0.0, 0.0, 1, [0.0], [0], 1.0)
    rows = [row._replace(submitted_s=i / rate, latency_s=each) for i, each in enumerate(latencies)]
    return Load(rows, error)


def queued(rate, capacity, alone_s, count) -> list[float]:
    """Latencies of a server that answers ``capacity`` a second, in order of arrival."""
    free, latencies = 0.0, []
    for i in range(count):
        free = max(free, i / rate) + 1 / capacity
        latencies.append(free - i / rate + alone_s)
    return latencies


@pytest.mark.parametrize(
    ("rate", "latencies", "expected"),
    [
        (2.0, [0.5] * 40, False),
        (2.0, [3.0] * 40, False),  # a batch takes longer than a request alone, and none waits
        (2.0, [1.0] * 4 + [3.0] * 36, False),  # so it is when requests begin to share a batch
        (2.0, [0.5, 4.0] * 20, False),
        (2.0, queued(2.0, 2.1, 1.0, 40), False),
        (2.0, queued(2.0, 1.5, 1.0, 40), True),
        (20.0, queued(20.0, 15.0, 0.1, 40), True),  # by completions, not by a target of seconds
    ],
)
def test_saturation(rate, latencies, expected):
    assert saturated(load_of(rate, latencies).samples) is expected


def test_the_sweep_doubles_until_a_server_of_known_capacity_is_saturated():
    asked = []

    def measure(rate, count):
        asked.append((rate, count))
        return load_of(rate, queued(rate, 5.0, 0.25, count))

    sweep(measure, alone_s=0.25, requests=16)
    assert asked == [(2.0, 16), (4.0, 20), (8.0, 40)]


def test_a_sweep_that_nothing_saturates_ends():
    asked = []
    sweep(lambda rate, n: asked.append(rate) or load_of(rate, [0.1] * n), 1.0, 1)
    assert len(asked) == loads.MOST_DOUBLINGS


def test_a_load_that_fails_ends_the_sweep():
    dead = load_of(1.0, [], UserError("all failed; the server has ended"))
    assert sweep(lambda rate, count: dead, 1.0, 1) == [dead]
