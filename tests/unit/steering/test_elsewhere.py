"""Loss on neutral text and accuracy on a task, against a model of transformers by hand."""

import json

import pytest
import torch
from adapter_cases import load_adapter, load_base
from steering_cases import make_config, read, run

from loradrift.config import ModelConfig, UserError
from loradrift.data.tokens import token_ids
from loradrift.generation.base import EngineSettings
from loradrift.generation.hf import open_hf
from loradrift.models import load_tokenizer
from loradrift.steering.doses import Dose
from loradrift.steering.elsewhere import Continued, Source, log_likelihoods, task_rows

MORE = {"neutral_rows": 4, "task_rows": 30}


@pytest.fixture(scope="module")
def tokenizer(finished_world):
    return load_tokenizer(ModelConfig(name="local", path=str(finished_world.base)))


@torch.no_grad()
def nats(model, before, after):
    """Summed loss of ``after``, given ``before``: one text, unpadded."""
    ids = torch.tensor([[*before, *after]])
    logs = model.eval()(input_ids=ids).logits[0].log_softmax(-1)
    places = range(len(before) - 1, len(before) + len(after) - 1)
    return -sum(float(logs[place, ids[0, place + 1]]) for place in places)


def documents(world):
    lines = (world.root / "corpus/valid.txt").read_text().splitlines()
    return {f"valid/{i}": line for i, line in enumerate(lines)}


@pytest.mark.parametrize("arm", ["none", "weight", "prompt"])
def test_the_loss_is_of_each_row_s_second_half(world, tokenizer, arm):
    coefficient = 0.0 if arm == "none" else 1.0
    config = make_config(world, arm=arm, coefficient=coefficient, steering=MORE)
    record = run(config)
    model = load_base(world.base)
    if arm == "weight":
        model = load_adapter(world.direction / "adapter", world.base)
    told = " ".join(f"great {i}" for i in range(5)) if arm == "prompt" else ""
    [instructions] = token_ids(tokenizer, [told])
    found, texts = read(config, "neutral.json"), documents(world)
    assert [row["id"] for row in found["rows"]] == [f"valid/{i}" for i in range(1, 5)]  # 0 is short
    for row in found["rows"]:
        [ids] = token_ids(tokenizer, [texts[row["id"]]])
        half = len(ids) // 2
        before = [tokenizer.bos_token_id, *instructions, *ids[:half]]
        assert row["tokens"] == len(ids) - half
        assert row["nats"] == pytest.approx(nats(model, before, ids[half:]), rel=1e-4)
    total = sum(row["nats"] for row in found["rows"])
    assert record["metrics"]["neutral_loss"] == pytest.approx(total / found["tokens"])


def test_an_answer_is_right_if_it_is_the_likelier_one(world, tokenizer):
    config = make_config(world, steering=MORE)
    run(config)
    model, found = load_base(world.base), read(config, "task.json")
    lines = (world.root / "SST-2/dev.tsv").read_text().splitlines()[1:]
    assert {row["id"] for row in found["rows"]} == {f"sst2/dev/{i}" for i in range(30)}
    hits = 0
    for row in found["rows"]:
        text, label = lines[int(row["id"].rpartition("/")[2])].split("\t")
        losses = []
        for word in (" terrible", " great"):
            [ids] = token_ids(tokenizer, [f"{text} it was{word}"])
            [question] = token_ids(tokenizer, [f"{text} it was"])
            bos = [tokenizer.bos_token_id]
            losses.append(nats(model, bos + question, ids[len(question) :]))
        assert row["correct"] == (losses.index(min(losses)) == int(label))
        hits += row["correct"]
    assert 0 < hits < 30
    assert found["majority"] == pytest.approx(20 / 30)


def test_instructions_stand_after_the_token_that_begins_a_text(world, tokenizer):
    data, cache = make_config(world).data, world.folder / "cache"
    source = Source(data, cache, tokenizer, before=(7, 8))
    plain = task_rows("sst2", source._replace(before=()), 3)
    for row, own in zip(task_rows("sst2", source, 3), plain, strict=True):
        for told, bare in zip(row.answers, own.answers, strict=True):
            assert told.prompt_ids == (tokenizer.bos_token_id, 7, 8, *bare.prompt_ids[1:])
            assert bare.prompt_ids[0] == tokenizer.bos_token_id
            assert told.target_ids == bare.target_ids


def test_a_damaged_file_is_measured_again_and_a_whole_one_is_not(world, monkeypatch):
    from loradrift.generation.hf import HfEngine

    config = make_config(world)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("loradrift.steering.effects.answer_nats", lambda *_: 1 / 0)
        run(config)
    whole = read(config, "task.json")
    (config.cell / "task.json").write_text(json.dumps(whole | {"majority": 0.0}))
    (config.cell / "neutral.json").write_text("{")
    asked, measure = [], HfEngine.answer_log_likelihoods
    monkeypatch.setattr(
        HfEngine,
        "answer_log_likelihoods",
        lambda self, requests, answers: (
            asked.append(requests[0].id) or measure(self, requests, answers)
        ),
    )
    with pytest.warns(UserWarning, match="neutral.json is damaged"):
        run(config)
    assert read(config, "task.json")["majority"] == 0.0
    assert asked[0] == "valid/1" and not any(name.startswith("sst2") for name in asked)


def test_states_that_have_overflowed_are_found(finished_world):
    rows = [Continued("0", (1, 40, 41), (42, 43))]
    with open_hf(EngineSettings(finished_world.base, max_length=32)) as engine:
        assert log_likelihoods(engine, rows, Dose())[0] < 0
        weight = engine.backbone.decoder.norm.weight
        for value, message in (
            (0.0, "all tokens are equally likely"),
            (float("inf"), "not finite"),
        ):
            weight.data.fill_(value)
            with pytest.raises(UserError, match=message):
                log_likelihoods(engine, rows, Dose())
