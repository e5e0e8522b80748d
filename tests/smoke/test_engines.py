"""Real vLLM on this machine against transformers and PEFT; one process for all tests."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from adapter_cases import load_adapter, load_base, write_adapter
from engine_plan import KINDS, LABELS, NAMES, WIDE, make_plan
from engine_session import DRAW, SIXTEEN, wide_rows

from loradrift.generation import Completion, EngineSettings, Request, open_engine

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vLLM is not installed: `make serve-setup` brings it",
)


@pytest.fixture(scope="module")
def plan(model_folder, tmp_path_factory) -> dict:
    """Adapters, good and bad, a merged model, and classifiers."""
    return make_plan(tmp_path_factory.mktemp("engines"), model_folder)


@pytest.fixture(scope="module")
def found(plan, tmp_path_factory) -> dict:
    """What vLLM answered."""
    place = tmp_path_factory.mktemp("session")
    (place / "plan.json").write_text(json.dumps(plan, default=str))
    script = Path(__file__).with_name("engine_session.py")
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, str(script), str(place / "plan.json"), str(place / "answers.json")],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return json.loads((place / "answers.json").read_text())


@pytest.fixture(scope="module")
def hf(plan):
    """The engine that vLLM is held against."""
    settings = EngineSettings(plan["model"], plan["adapters"], max_length=64)
    with open_engine("hf", settings) as engine:
        yield engine


@pytest.fixture(scope="module")
def requests(plan) -> list[Request]:
    return [Request(str(i), *row) for i, row in enumerate(plan["requests"])]


def gaps(hf, requests, answers) -> list[float]:
    """The largest of each answer: 0 where it is that of transformers, tiny where it was a tie."""
    given = [Completion(x.id, tuple(ids), ()) for x, ids in zip(requests, answers, strict=True)]
    return [max(each) for each in hf.greedy_gaps(requests, given)]


def test_adapters_side_by_side_answer_as_under_transformers(found, hf, requests):
    answers = found["side_by_side"]["together"]
    assert {len(each) for each in answers} == {16}
    assert max(gaps(hf, requests, answers)) < 1e-3
    assert found["side_by_side"]["alone"] == answers
    assert found["side_by_side"]["served"] == NAMES
    others = [*answers[1:], answers[0]]
    assert min(gaps(hf, requests, others)) > 0.1  # another model's answer would be seen


def test_each_token_has_its_time(found):
    for times in found["side_by_side"]["times"]:
        assert len(times) == 16 and times == sorted(times) and 0 < times[0] < times[-1]
    assert found["side_by_side"]["load_s"].keys() == KINDS.keys()
    assert min(found["side_by_side"]["load_s"].values()) > 0
    assert found["side_by_side"]["start_s"] > sum(found["side_by_side"]["load_s"].values())


def test_log_likelihoods_agree(found, hf, requests):
    wanted = pytest.approx(hf.log_likelihoods(requests), abs=1e-3)
    assert found["side_by_side"]["log_likelihoods"] == wanted


def test_answers_end_where_those_of_transformers_do(found, hf, requests):
    whole = found["side_by_side"]["together"]
    ends = replace(SIXTEEN, ignore_eos=False)
    lengths = [len(each.token_ids) for each in hf.generate(requests, ends)]
    cut = found["side_by_side"]["cut"]
    assert cut == [ids[:length] for ids, length in zip(whole, lengths, strict=True)]


def test_draws_depend_on_the_seed_and_the_request_alone(found):
    drawn = found["side_by_side"]["drawn"]
    assert drawn == found["side_by_side"]["drawn_alone"]
    other = found["side_by_side"]["drawn_by_another_seed"]
    assert all(first != second for first, second in zip(drawn, other, strict=True))
    assert drawn != found["side_by_side"]["together"] and DRAW.temperature > 0


def test_an_engine_opens_and_closes_beside_another(found, plan, requests):
    settings = EngineSettings(plan["merged"], max_length=64)
    base = [replace(each, adapter=None) for each in requests]
    with open_engine("hf", settings) as merged:
        assert max(gaps(merged, base, found["another_engine"]["merged"])) < 1e-3
    assert found["another_engine"]["first_goes_on"] == found["side_by_side"]["together"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", "asks for the adapter other, which the engine does not have; it has plain,"),
        ("intervention", "request 7 has an intervention, which vLLM cannot make; engine=hf"),
        (
            "long",
            "request 7 must have at most 64 tokens (max_length), answer included, got 60 + 16",
        ),
        ("large", "its rank must be at most 16, the engine's max_lora_rank, got 17"),
        ("dora", "use_dora must be false for vLLM, got true; `python benchmark.py benchmark="),
        ("damaged", "adapter_model.safetensors cannot be read"),
        ("absent", "adapter absent: there is no folder "),
        ("taken", "the engine has an adapter plain already"),
    ],
)
def test_what_is_refused_is_one_line_and_harms_nothing(found, name, message):
    line = found["errors"][name]
    kind = "AdapterVanished: " if name == "absent" else "UserError: "
    assert line.startswith(kind) and message in line and "\n" not in line
    assert found["errors"]["afterwards"] == found["side_by_side"]["together"][0]


def test_a_cache_too_small_or_too_large(found):
    rule = "kv_cache_bytes must hold one request of 64 tokens (max_length), got 1000"
    assert found["small_cache"] == f"UserError: {rule}"
    assert found["large_cache"].startswith("MemoryError: vLLM cannot serve")
    assert "\n" not in found["large_cache"]


def test_more_adapters_than_places_answer_the_same(found):
    whole = found["side_by_side"]["together"]
    adapted = [ids for ids, name in zip(whole, NAMES, strict=True) if name]
    assert found["few_slots"]["answers"] == adapted == found["few_slots"]["afterwards"]


def test_base_rows_beside_adapters_need_a_free_place(found, hf, requests):
    alone = [replace(requests[0], adapter=None)]
    assert max(gaps(hf, alone, [found["few_slots"]["base"]])) < 1e-3
    line = found["few_slots"]["beside_base"]
    assert "max_loras must leave a slot that no adapter has used" in line and line.endswith("got 1")


@torch.no_grad()
def largest_gap(model, ids, tokens) -> float:
    """How far a token is at most below the likeliest, in nats, by one pass over the text."""
    logits = model(input_ids=torch.tensor([[*ids, *tokens]])).logits[0, len(ids) - 1 : -1]
    given = logits.gather(1, torch.tensor(tokens)[:, None])
    return float((logits.amax(-1, keepdim=True) - given).max())


@pytest.mark.parametrize("tied", ["False", "True"])
def test_an_adapted_embedding_and_head_answer_as_under_peft(found, plan, tied):
    base, adapters = plan["wide"][tied]
    models = {name: load_adapter(folder, base).eval() for name, folder in adapters.items()}
    models[None] = load_base(base).eval()
    rows = list(zip(wide_rows([*WIDE]), found["wide"][tied], strict=True))
    assert {name for (_, name), _ in rows} == models.keys()
    for (ids, name), tokens in rows:
        assert largest_gap(models[name], ids, tokens) < 1e-3
        for other in models.keys() - {name}:
            assert largest_gap(models[other], ids, tokens) > 0.1


def test_an_adapter_that_vanishes_ends_no_engine(found):
    slots = found["few_slots"]
    assert "can no longer be read: No such file" in slots["vanished"]
    assert slots["vanished_inside"].startswith("UserError: vLLM failed: ")
    assert "asks for the adapter doomed, which the engine does not" in slots["unloaded"]
    assert slots["doomed"] != slots["answers"][0]


@torch.no_grad()
def test_heads_of_unequal_size_in_one_batch(found, plan):
    logits = found["classifiers"]["logits"]
    for (ids, name), row in zip(plan["to_classify"], logits, strict=True):
        folder = plan["classifiers"][name]
        bare = write_adapter(folder.parent / f"bare_{name}", plan["model"], size=0.1 * LABELS[name])
        model = load_adapter(bare, plan["model"]).get_base_model().model.eval()
        from safetensors.torch import load_file

        head = load_file(folder / "adapter_model.safetensors")
        weight, bias = (head[f"base_model.model.score.{part}"] for part in ("weight", "bias"))
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        assert row == pytest.approx((weight @ hidden + bias).tolist(), abs=2e-5)
    assert found["classifiers"]["afterwards"] == logits[:1]


def test_a_class_needs_a_head(found):
    assert "asks the base model for a class: it has no head" in found["classifiers"]["base"]
    assert "holds no head (score.weight)" in found["classifiers"]["headless"]
