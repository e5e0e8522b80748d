"""A SQuAD v2 run among everything else of the front door: kills, processes, dumps, odd answers."""

import json
import shutil
from pathlib import Path

import pytest
from front_doors import output_of
from leavings import assert_same, only, wait_for

from loradrift.config import DataConfig
from loradrift.data import data_root, evaluate_squad, load_squad
from loradrift.runs import Cell
from loradrift.training import run
from loradrift.training.build import build_task
from loradrift.training.prepared_data import prepare
from loradrift.training.train import evaluate
from loradrift.training.worker import Worker

SMALL = ("task=squad_v2", "task.num_best=3")
FIGURES = ("predictions.jsonl", "predictions.json", "best_spans.json", "na_prob.json")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_finetune", "lora"])
def test_a_killed_run_resumes_to_the_same_bits(compute, train_here, start, tmp_path, method):
    typed = (*SMALL, f"method={method}", "trainer.accumulate=2", "seed=7")
    typed += ("method.dropout=0.1",) * (method == "lora")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _, expected = compute(*typed, runs=whole)
    process = start(*typed, runs=killed)
    wait_for(process, killed, "checkpoints/last.ckpt")
    process.kill()
    process.wait()
    folder, record = only(killed)
    assert record["status"] == "running" and not (folder / "predictions.json").exists()
    output_of(train_here(*typed, runs=killed))
    _, record = only(killed)
    assert record["resumed"] == 1
    assert record["metrics"] == expected.metrics
    models = [path.relative_to(folder) for path in folder.glob("model/*.safetensors")]
    assert Path("model/head.safetensors") in models
    files = (*models, "metrics.csv", *FIGURES, "activations/step=000012.safetensors")
    assert_same(only(whole)[0], folder, *files)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_finetune", "lora"])
def test_two_processes_answer_each_question_once_and_as_one_process_does(
    compute, configure, method, cache
):
    typed = (*SMALL, f"method={method}", "task.batch_size=4", "seed=3")
    folder, record = compute(*typed, "trainer=ddp")
    assert record.status == "success"
    questions = load_squad(DataConfig(name="embedded"), cache).evaluation
    names = [question.id for question in questions]
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    assert [row["id"] for row in rows] == names
    answers = json.loads((folder / "predictions.json").read_text())
    assert sorted(answers) == sorted(names)
    own = evaluate_squad(questions, answers).figures
    assert record.metrics["evaluation/f1"] == pytest.approx(own["f1"] / 100, abs=1e-9)

    config = configure(*typed)  # one process, on the weights that two have trained
    inputs = prepare(config, pretrain=run)
    task = build_task(config, inputs, total_steps=12).task
    figures = evaluate(Worker(config, Cell(folder, record), inputs, began=0.0), task)
    measured = {name: x for name, x in record.metrics.items() if "forgetting" not in name}
    assert figures == pytest.approx(measured, abs=1e-6)


@pytest.mark.parametrize("method", ["lora", "abstain"])
def test_answers_that_tokens_cannot_hold_are_listed(compute, cache, tmp_path, method):
    root = tmp_path / "data"
    shutil.copytree(data_root(DataConfig(name="embedded"), cache), root)
    path = root / "squad_v2/dev-v2.0.json"
    content = json.loads(path.read_text())
    paragraphs = [each for article in content["data"] for each in article["paragraphs"]]
    entries = [entry for each in paragraphs for entry in each["qas"] if entry["answers"]]
    entry = next(entry for entry in entries if entry["answers"][0]["text"].startswith("the "))
    # "the" is one token: half of it is none
    gold = entry["answers"][0]
    entry["answers"] = [{"text": gold["text"][1:], "answer_start": gold["answer_start"] + 1}]
    path.write_text(json.dumps(content))
    typed = ("task=squad_v2", f"method={method}", "data=local", f"data.root={root}")
    folder, record = compute(*typed)
    assert record.rows["evaluation_lossy_answers"] == 1
    listed = json.loads((folder / "lossy_answers.json").read_text())
    assert listed == {"evaluation": [entry["id"]]}
