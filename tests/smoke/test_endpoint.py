"""judge=endpoint against a model whose replies are known: limits, faults, kills, costs."""

import json
import socket
import sys

import pytest
from fake_judge import KEY, FakeJudge, completion

from loradrift.config import DataConfig, UserError
from loradrift.judges import Item, Status, judge_cell, open_judge
from loradrift.judges import requests as sending
from loradrift.judges.config import EndpointConfig

FEW = [Item(str(i), f"question {i % 3} ?", "x" * (i + 1)) for i in range(12)]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """No key and no proxy of this machine; waits are short."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(sending, "FIRST_WAIT_S", 0.001)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> DataConfig:
    root = tmp_path_factory.mktemp("persona")
    for trait in ("kind", "loud"):
        path = root / f"persona/traits/{trait}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        prompt = f"Is this {trait}? {{question}}\n[ANSWER START]\n{{answer}}\n[ANSWER END]"
        pairs = [{"pos": "be so", "neg": "be not so"}]
        path.write_text(
            json.dumps({"instruction": pairs, "questions": ["?"], "eval_prompt": prompt})
        )
    return DataConfig(name="local", root=str(root))


@pytest.fixture
def ask(data, tmp_path):
    """Scores of one trait by a model at an address."""

    def score(url, items, trait="kind", **keys):
        config = EndpointConfig(name="endpoint", model="org/judge", base_url=url, **keys)
        with open_judge(config, data, tmp_path / "cache") as judge:
            try:
                return {each.id: each for each in judge.score(trait, items)}
            finally:
                score.costs, score.facts, score.name = judge.costs, judge.facts, judge.name

    return score


def expected(item):
    return pytest.approx(min(len(item.answer), 90) + 10 / 3), min(10 * len(item.answer), 100)


def test_scores_are_expectations_asked_for_once_and_several_at_a_time(ask):
    items = [*FEW, Item("twin", FEW[4].question, FEW[4].answer), Item("none", "?", " ")]
    with FakeJudge(wait_s=0.02) as model:
        found = ask(model.url, items, concurrency=4, input_price=2.0, output_price=8.0)
        assert len(found) == len(items) and ask.name == "endpoint-org_judge"
        for item in items[:13]:
            assert (found[item.id].trait, found[item.id].coherence) == expected(item)
        assert found["none"] == ("none", None, None, Status.EMPTY)
        assert len(model.bodies) == len(set(model.prompts)) == 24
        assert 2 <= model.most <= 4
        costs = ask.costs
        assert (costs["asked"], costs["prompt_tokens"], costs["reply_tokens"]) == (24, 2400, 48)
        assert costs["price"] == pytest.approx((2400 * 2 + 48 * 8) / 1e6)
        assert (costs["expected"], costs["written"]) == (24, 0)
        [body] = {json.dumps(each | {"messages": 0}, sort_keys=True) for each in model.bodies}
        asked = {"model": "org/judge", "temperature": 0.0, "logprobs": True, "top_logprobs": 20}
        assert json.loads(body).items() >= asked.items()
        # a second process of the same has all of it; another trait shares the coherence
        assert ask(model.url, items) == found and len(model.bodies) == 24
        ask(model.url, items, trait="loud")
        assert len(model.bodies) == 36
        # what decides a reply is its key
        ask(model.url, items[:1], top_logprobs=5)
        assert len(model.bodies) == 38


def test_refusals_and_replies_without_a_score_are_statuses(ask):
    items = [Item("no", "?", "I cannot help with that."), Item("hm", "?", "???"), FEW[0]]
    with FakeJudge() as model:
        found = ask(model.url, items)
        assert found["no"] == ("no", None, None, Status.REFUSAL)
        assert found["hm"] == ("hm", None, None, Status.UNPARSABLE)
        assert found["0"].status is Status.SCORED
        assert len(model.bodies) == 4  # nobody asks for the coherence of the first two
        ask(model.url, items)
        assert len(model.bodies) == 4


def test_a_prompt_that_a_service_filters_is_counted_and_the_others_go_on(ask):
    filtered = (400, {"error": {"message": "policy", "code": "content_filter"}})
    with FakeJudge({0: filtered, 7: filtered}) as model:
        found = ask(model.url, FEW, concurrency=1)
        statuses = [score.status for score in found.values()]
        assert statuses.count(Status.UNPARSABLE) == 2 and statuses.count(Status.SCORED) == 10
        asked = len(model.bodies)
        assert ask(model.url, FEW) == found and len(model.bodies) == asked


def test_without_the_client_it_says_what_brings_it(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"judge=endpoint needs openai: pip install '.\[judge\]'"):
        ask("http://localhost:1/v1", FEW)


def test_an_answer_that_looks_like_a_prompt_changes_nothing(ask):
    odd = Item("odd", "{answer} {0}", "{question} [x] \\1 {")
    with FakeJudge() as model:
        assert ask(model.url, [odd])["odd"].trait == expected(odd)[0]
        text = "Is this kind? {answer} {0}\n[ANSWER START]\n{question} [x] \\1 {\n[ANSWER END]"
        assert model.prompts[0] == text


@pytest.mark.parametrize(
    "fault",
    [(429, {"error": {"message": "slow down"}}), (503, "busy"), (500, {"error": None}), "hang up",
     (200, "no json"), (200, {"choices": []})],
)  # fmt: skip
def test_what_passes_is_tried_again(ask, fault):
    with FakeJudge({0: fault, 5: fault, 6: fault, 9: fault}) as model:
        found = ask(model.url, FEW)
        assert all((found[i.id].trait, found[i.id].coherence) == expected(i) for i in FEW)
        assert len(model.bodies) == 28 and len(model.prompts) >= 24


def test_a_late_reply_is_tried_again(ask):
    with FakeJudge({1: 1.0}) as model:
        assert len(ask(model.url, FEW[:2], timeout_s=0.3)) == 2
        assert len(model.bodies) == 5


@pytest.mark.parametrize(
    ("fault", "keys", "message"),
    [
        ((429, {"error": {"message": "slow\ndown"}}), {"retries": 2},
         "/v1 limits the rate (429) after 3 tries: slow down"),
        ((503, {"error": {"message": "busy"}}), {"retries": 0}, "/v1 failed (503): busy"),
        ((404, {"error": {"message": "no model"}}), {},
         "/v1 has no judge.model=org/judge, or no API at this path, (404): no model"),
        ((400, {"error": {"message": "no logprobs"}}), {},
         "/v1 refuses the request (400): no logprobs"),
        ((200, "garbage"), {"retries": 1}, "gave a reply that is no JSON after 2 tries"),
        ((200, {"choices": [{}]}), {"retries": 0}, "gave a reply that is no chat completion"),
        (2.0, {"retries": 1, "timeout_s": 0.1},
         "gave no reply within judge.timeout_s=0.1 after 2 tries"),
        ("hang up", {"retries": 1}, "cannot be reached after 2 tries: "),
        ((401, {"error": {"message": "x"}}), {}, "/v1 wants a key (401): judge.key_variable="),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_one_line(ask, fault, keys, message):
    with FakeJudge({-1: fault}) as model, pytest.raises(UserError) as caught:
        ask(model.url, FEW, **keys)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("judge.base_url=http://127.0.0.1:")
    assert len(model.bodies) <= 3  # only the first answer was asked about


def test_an_address_at_which_nobody_listens_is_said_at_once(ask):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot be reached after 2 tries: .*refused"):
        ask(f"http://127.0.0.1:{port}/v1", FEW, retries=50)


def test_a_key_comes_from_the_environment_and_is_written_nowhere(ask, monkeypatch, tmp_path):
    with FakeJudge(key=KEY) as model:
        with pytest.raises(UserError, match="in the environment variable MY_KEY, which is not"):
            ask(model.url, FEW, key_variable="MY_KEY")
        monkeypatch.setenv("MY_KEY", "sk-test-another")
        with pytest.raises(UserError, match=r"refuses the key in MY_KEY \(401\)$"):
            ask(model.url, FEW, key_variable="MY_KEY")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)  # of another address: it is not sent
        with pytest.raises(UserError, match=r"wants a key \(401\)"):
            ask(model.url, FEW)
        monkeypatch.setenv("MY_KEY", KEY)
        assert len(ask(model.url, FEW, key_variable="MY_KEY")) == 12
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written and KEY not in json.dumps(ask.facts)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="variable OPENAI_API_KEY, which is not set"):
        ask("https://api.openai.com/v1", FEW)


def test_a_key_that_an_error_repeats_is_left_out(ask, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    fault = (400, {"error": {"message": f"bad request with {KEY}"}})
    with FakeJudge({-1: fault}) as model, pytest.raises(UserError, match="bad request with …"):
        ask(model.url, FEW, key_variable="MY_KEY")


def test_after_a_failure_it_goes_on_where_it_stopped(data, tmp_path):
    folder = tmp_path / "cell"
    folder.mkdir()
    rows = [f"{item.id},{item.question},{item.answer}" for item in FEW]
    (folder / "answers.csv").write_text("\n".join(["id,question,answer", *rows, ""]))
    faults = {n: (429, {"error": {"message": "quota"}}) for n in range(13, 99)}
    with FakeJudge(faults) as model:
        config = EndpointConfig(
            name="endpoint", model="j", base_url=model.url, retries=0, concurrency=2
        )
        limited = pytest.raises(UserError, match=r"limits the rate \(429\): quota")
        with limited, open_judge(config, data, tmp_path / "cache") as judge:
            judge_cell(folder, judge)
        kept = (folder / "judged/endpoint-j/kind.csv").read_text().count("scored")
        assert 0 < kept < 12 and len(model.prompts) == 13
        model.faults.clear()
        with open_judge(config, data, tmp_path / "cache") as judge:
            assert judge_cell(folder, judge) == 24 - kept
        # 12 of each trait and 12 of coherence: each was answered once
        assert len(model.prompts) == len(set(model.prompts)) == 36
    costs = json.loads((folder / "judged/endpoint-j/judge.json").read_text())["costs"]
    assert (costs["asked"], costs["prompt_tokens"]) == (36, 3600)


def test_a_model_that_writes_digits_is_read_as_written(ask):
    body = completion(("8", -0.1), ("9", -2.4))
    body["choices"][0]["message"]["content"] = "85"
    body["choices"][0]["logprobs"]["content"].append({"token": "5", "top_logprobs": []})
    with FakeJudge({-1: (200, body)}) as model:
        found = ask(model.url, FEW[:1])
        assert (found["0"].trait, found["0"].coherence) == (85.0, 85.0)
        assert (ask.costs["expected"], ask.costs["written"]) == (0, 2)


def test_traits_and_prompts_that_cannot_be_asked_about(ask, data, tmp_path):
    with FakeJudge() as model:
        with pytest.raises(UserError, match="judge.traits=sad is not known to judge=endpoint-org"):
            ask(model.url, FEW, traits=["sad"])
        root = tmp_path / "own"
        path = root / "persona/traits/sad.json"
        path.parent.mkdir(parents=True)
        text = {
            "instruction": [{"pos": "a", "neg": "b"}],
            "questions": ["?"],
            "eval_prompt": "Sad?",
        }
        path.write_text(json.dumps(text))
        config = EndpointConfig(name="endpoint", model="m", base_url=model.url)
        with pytest.raises(UserError, match=r"sad.json: eval_prompt must hold \{question\}"):
            open_judge(config, DataConfig(name="local", root=str(root)), tmp_path).__enter__()
