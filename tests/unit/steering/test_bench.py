"""A steering cell: what it leaves, and how it goes on after an interruption."""

import json
import shutil

import pytest
import torch
from adapter_cases import load_adapter, load_base
from steering_cases import answers, change_facts, make_config, read, run, sha256, write_run

from loradrift.config import ModelConfig, UserError
from loradrift.generation.hf import HfEngine
from loradrift.models import load_tokenizer

DOSES = {
    "none": 0.0, "prompt": 1.0, "activation": 3.0, "weight": 1.0, "weight_positive": 1.0,
    "bias_only": 1.0, "random_weight": 1.0, "random_activation": 3.0,
}  # fmt: skip


@torch.no_grad()
def greedy(model, prompt, count):
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(prompt) :]


def decoded(world, config, model):
    """The answers that a model of transformers gives alone, row by row, with nothing kept."""
    tokenizer = load_tokenizer(ModelConfig(name="local", path=str(world.base)))
    texts = [each["prompt"] for each in read(config, "prompts.json")]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    most = config.steering.max_tokens
    return [
        tokenizer.decode(greedy(model.eval(), x, most), skip_special_tokens=True).strip()
        for x in ids
    ]


def test_every_arm_leaves_the_same_files_of_the_same_questions(world, positive):
    records, tables = {}, {}
    for arm, coefficient in DOSES.items():
        config = make_config(world, arm=arm, coefficient=coefficient, variant=f"arm={arm}")
        records[arm] = record = run(config)
        tables[arm] = rows = answers(config)
        assert record["status"] == "success" and record["kind"] == "steering"
        assert record["coordinates"] == {
            "benchmark": "steering", "engine": "hf", "model": "local", "variant": f"arm={arm}",
        }  # fmt: skip
        assert record["config"]["coefficient"] == coefficient
        assert [row["id"] for row in rows] == [f"cheerful/{i}/0" for i in range(3)]
        assert [row["question"] for row in rows] == [f"is the film cheerful {i}" for i in range(3)]
        assert all(1 <= int(row["num_tokens"]) <= 6 for row in rows)
        neutral, task = read(config, "neutral.json"), read(config, "task.json")
        assert neutral["loss"] == pytest.approx(
            sum(row["nats"] for row in neutral["rows"]) / neutral["tokens"]
        )
        assert record["metrics"]["neutral_loss"] == neutral["loss"]
        assert len(neutral["rows"]) == 3 and len(task["rows"]) == 7
        share = sum(row["correct"] for row in task["rows"]) / 7
        assert record["metrics"]["task_accuracy"] == share and 0.5 <= task["majority"] <= 1
        assert not (config.cell / "answers").exists()
        wanted = None if arm in ("none", "prompt") else {"passed": True, "checks": [], "files": {}}
        assert record["certificate"] == wanted
        assert ("direction" in record["fingerprints"]) == (wanted is not None)
        assert (record["metrics"]["effect_nats"] == 0) == (arm == "none")
    for key in ("questions", "neutral_text", "task_rows", "base_model"):
        assert len({record["fingerprints"][key] for record in records.values()}) == 1
    texts = {arm: tuple(row["answer"] for row in rows) for arm, rows in tables.items()}
    assert len(set(texts.values())) >= 6  # each arm does something of its own
    losses = {record["metrics"]["neutral_loss"] for record in records.values()}
    assert len(losses) == 8


def test_greedy_answers_are_those_of_a_model_that_was_changed_by_hand(world):
    direction = load_adapter(world.direction / "adapter", world.base)
    plain = make_config(world, variant="plain")
    run(plain)
    assert [row["answer"] for row in answers(plain)] == decoded(world, plain, load_base(world.base))
    config = make_config(world, arm="weight", coefficient=1.0, variant="weight")
    run(config)
    assert [row["answer"] for row in answers(config)] == decoded(world, config, direction)


def test_answers_do_not_depend_on_what_is_answered_beside_them(world):
    found = []
    for size in (1, 3):
        keys = {"steering": {"batch_size": size}, "variant": str(size)}
        config = make_config(world, arm="activation", coefficient=3.0, **keys)
        run(config)
        found.append(answers(config))
    assert found[0] == found[1]
    keys = {"samples": 2, "temperature": 1.5}
    drawn = make_config(world, steering=keys | {"batch_size": 1}, variant="drawn")
    again = make_config(world, steering=keys | {"batch_size": 6}, variant="again")
    other = make_config(world, steering=keys, seed=1, variant="other")
    for config in (drawn, again, other):
        run(config)
    assert answers(drawn) == answers(again) != answers(other)
    first, second, *_ = answers(drawn)
    assert [first["id"], second["id"]] == ["cheerful/0/0", "cheerful/0/1"]
    assert first["answer"] != second["answer"]


def test_the_prompt_arm_writes_the_instructions_before_everything(world):
    config = make_config(world, arm="prompt", coefficient=-0.4)
    run(config)
    for each in read(config, "prompts.json"):
        assert "no great 0" in each["prompt"] and "no great 1" in each["prompt"]
        assert "no great 2" not in each["prompt"] and each["question"] in each["prompt"]


@pytest.mark.parametrize("full", [False, True])
def test_a_run_s_weights_stand_instead_of_the_base_s(world, tmp_path, full):
    folder = write_run(tmp_path / "tuned", world.base, full=full)
    config = make_config(world, steering={"run": str(folder)})
    run(config)
    weights = folder / "model"
    model = load_base(weights) if full else load_adapter(weights, world.base)
    assert [row["answer"] for row in answers(config)] == decoded(world, config, model)
    plain = make_config(world, variant="plain")
    run(plain)
    assert answers(plain) != answers(config)


def test_a_run_that_was_trained_anew_is_another_cell(world, tmp_path):
    config = make_config(world, steering={"run": str(tmp_path / "tuned")})
    write_run(tmp_path / "tuned", world.base, full=True)
    run(config)
    shutil.rmtree(tmp_path / "tuned")
    write_run(tmp_path / "tuned", world.base, full=True, seed=4)
    line = "holds a run with another configuration: standing.model.safetensors"
    with pytest.raises(UserError, match=line):
        run(config)


def test_a_cell_that_is_interrupted_goes_on_after_its_last_batch(world, monkeypatch):
    keys = {"arm": "activation", "coefficient": 3.0, "steering": {"questions": 4, "batch_size": 1}}
    whole = make_config(world, variant="whole", **keys)
    run(whole)
    cut = make_config(world, variant="cut", **keys)
    generate, calls = HfEngine.generate, []

    def stopping(self, requests, sampling):
        calls.append([each.id for each in requests])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(self, requests, sampling)

    monkeypatch.setattr(HfEngine, "generate", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(cut)
    record = read(cut, "run.json")
    kept = sorted((cut.cell / "answers").iterdir())
    assert record["status"] == "interrupted" and len(kept) == 2
    kept[0].write_text("{")
    calls.clear()
    calls += [None] * 10  # none is stopped
    with pytest.warns(UserWarning, match="is damaged .* it is made again"):
        record = run(cut)
    assert calls[10:] == [["cheerful/0/0"], ["cheerful/2/0"], ["cheerful/3/0"]]
    assert (record["status"], record["resumed"]) == ("success", 1)
    assert (cut.cell / "answers.csv").read_bytes() == (whole.cell / "answers.csv").read_bytes()
    calls.clear()
    run(cut)
    assert calls == []


def test_a_steered_cell_of_another_direction_is_another_cell(world):
    config = make_config(world, arm="weight", coefficient=1.0)
    run(config)
    change_facts(world.direction, norm=2.0)
    run(config)  # the facts are no part of it, the files are
    adapter = world.direction / "adapter/adapter_config.json"
    adapter.write_text(adapter.read_text().replace('"lora_alpha": 2', '"lora_alpha": 8'))
    facts = json.loads((world.direction / "direction.json").read_text())
    change_facts(
        world.direction, sha256=facts["sha256"] | {"adapter/adapter_config.json": sha256(adapter)}
    )
    with pytest.raises(
        UserError, match="holds a run with another configuration: directions.cheerful"
    ):
        run(config)
