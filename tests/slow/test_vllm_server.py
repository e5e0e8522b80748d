"""vLLM's real server held against transformers and PEFT, under load, and when it is killed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from adapter_cases import write_adapter

from loradrift.generation import Completion, EngineSettings, Request, open_engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed: `make serve-setup` brings it",
    ),
]

PROMPTS = [(1, 40, 41, 42), (1, 50), (1, *range(60, 80)), (9, 8, 7, 6)]
NAMES = ["plain", None, "wide-seed=2", "plain"]


@pytest.fixture(scope="module")
def plan(model_folder, tmp_path_factory) -> dict:
    place = tmp_path_factory.mktemp("served")
    adapters = {
        "plain": write_adapter(place / "plain", model_folder, size=0.2, r=4),
        "wide-seed=2": write_adapter(
            place / "wide", model_folder, size=0.2, r=9, target_modules="all-linear"
        ),
    }
    rows = list(zip(PROMPTS, NAMES, strict=True))
    return {"model": model_folder, "adapters": adapters, "requests": rows}


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    return [Request(str(i), PROMPTS[i], NAMES[i]) for i in range(len(NAMES))]


@pytest.fixture(scope="module")
def found(plan, tmp_path_factory):
    """What the server answered; its program is killed and nothing of it is left at the end."""
    place = tmp_path_factory.mktemp("session")
    (place / "plan.json").write_text(json.dumps(plan, default=str))
    answers = place / "answers.json"
    script = Path(__file__).with_name("server_session.py")
    source = str(Path(__file__).parents[2] / "src")
    with (place / "errors").open("w+") as errors:
        program = subprocess.Popen(
            [sys.executable, script, place / "plan.json", answers, place / "server.log"],
            env=os.environ | {"PYTHONPATH": source},
            stderr=errors,
        )
        try:
            deadline = time.monotonic() + 600
            while not answers.exists() or not answers.read_text():
                assert program.poll() is None, Path(errors.name).read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            said = json.loads(answers.read_text())
            before = len(session(said["pid"]))
        finally:
            program.kill()
            program.wait()
        deadline = time.monotonic() + 30
        while (left := session(said["pid"])) and time.monotonic() < deadline:
            time.sleep(0.1)
    return said | {"processes_before": before, "left": left}


def session(leader: int) -> list[str]:
    """The commands of the session that a process began."""
    asked = ["ps", "-o", "args=", "--sid", str(leader)]
    return subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def hf(plan):
    with open_engine(
        "hf", EngineSettings(plan["model"], plan["adapters"], max_length=64)
    ) as engine:
        yield engine


def gaps(hf, requests, answers) -> list[float]:
    """The largest of each answer: 0 where it is that of transformers, tiny where it was a tie."""
    given = [Completion(x.id, tuple(ids), ()) for x, ids in zip(requests, answers, strict=True)]
    return [max(each) for each in hf.greedy_gaps(requests, given)]


def test_it_answers_as_transformers_do(found, hf, requests):
    assert max(gaps(hf, requests, found["answers"])) < 1e-3
    assert found["served"] == NAMES
    others = [*found["answers"][1:], found["answers"][0]]
    assert min(gaps(hf, requests, others)) > 0.1  # another model's answer would be seen


def test_log_likelihoods_agree(found, hf, requests):
    assert found["log_likelihoods"] == pytest.approx(hf.log_likelihoods(requests), abs=1e-3)


def test_an_adapter_goes_and_comes_back_while_it_runs(found):
    assert "asks for the adapter plain, which the engine does not have" in found["unloaded"]
    assert found["load_s"] > 0
    assert found["reloaded"] == found["answers"]


def test_base_rows_need_a_place_that_was_never_used_and_an_unloaded_adapter_keeps_its_own(found):
    assert "max_loras must leave a slot that no adapter has used" in found["beside_base"]
    whole = zip(found["answers"], NAMES, strict=True)
    assert found["adapted"] == [ids for ids, name in whole if name]


@pytest.mark.parametrize("kind", ["closed", "open", "again"])
def test_every_answer_under_load_is_right_and_names_its_model(found, kind):
    load = found["loads"][kind]
    assert load["error"] == "None"
    assert [row["token_ids"] for row in load["samples"]] == found["answers"]
    assert [row["asked"] for row in load["samples"]] == NAMES
    assert [row["served"] for row in load["samples"]] == NAMES
    for row in load["samples"]:
        assert 0 < row["ttft_s"] <= row["latency_s"] <= row["call_s"] - row["submitted_s"] + 0.01
        assert row["token_times_s"] == sorted(row["token_times_s"])
        assert len(row["token_times_s"]) == row["tokens"] == 16


def test_a_closed_loop_sends_the_next_when_one_is_answered(found):
    rows = found["loads"]["closed"]["samples"]
    ends = sorted(row["submitted_s"] + row["latency_s"] for row in rows)
    starts = sorted(row["submitted_s"] for row in rows)
    assert starts[2] >= ends[0] and starts[3] >= ends[1]


def test_arrivals_of_an_open_loop_are_the_seed_s_and_numpy_s_draws_untouched(found):
    def sent(kind):
        return [row["submitted_s"] for row in found["loads"][kind]["samples"]]

    assert sent("open") == pytest.approx(sent("again"), abs=0.1)
    assert sent("open")[-1] == pytest.approx(4 / 8, abs=0.1)  # the last of 4 at 8 a second
    before, after = found["loads"]["numpy"]
    assert before == after


def test_a_server_that_is_killed_keeps_what_it_answered_and_leaves_nothing(found):
    killed = found["killed"]
    assert found["processes"] >= 2  # the server and its engine
    assert killed["left"] == []
    done = len(killed["samples"])
    lost = 400 - done
    assert done > 0 and lost > 0
    assert f"{lost} of 400 requests failed, the first of them request {done}" in killed["error"]
    assert "to plain: the connection broke after " in killed["error"]
    assert "it was ended by signal 9; its log /" in killed["error"]
    assert "\n" not in killed["error"]
    assert "the connection broke after 0 tokens; it was ended by signal 9" in killed["afterwards"]


def test_a_program_that_is_killed_leaves_no_server(found, hf, requests):
    base = [Request(each.id, each.prompt_ids) for each in requests]
    assert max(gaps(hf, base, found["base"])) < 1e-3
    assert found["processes_before"] >= 2
    assert found["left"] == []
