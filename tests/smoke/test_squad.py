"""SQuAD v2 through the training front door: what a run leaves, and that others can score it."""

import json

import pytest

from loradrift.config import DataConfig
from loradrift.data import evaluate_squad, load_squad

SMALL = ("task=squad_v2", "task.num_best=3")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def questions(cache):
    return load_squad(DataConfig(name="embedded"), cache).evaluation


@pytest.mark.parametrize("method", ["full_finetune", "lora"])
def test_a_run_says_what_others_compute_from_its_files(compute, questions, method):
    folder, record = compute(*SMALL, f"method={method}")
    answers, spans, na_probs = (
        read(folder / f"{name}.json") for name in ("predictions", "best_spans", "na_prob")
    )
    assert set(answers) == {question.id for question in questions}
    own = evaluate_squad(questions, answers).figures
    for name in ("exact", "f1", "HasAns_f1", "NoAns_exact"):
        assert record.metrics[f"evaluation/{name}"] == pytest.approx(own[name] / 100, abs=1e-6)
    tuned = evaluate_squad(questions, spans, na_probs).figures["best_f1"]
    reported = record.metrics["evaluation/best_f1_tuned_on_these_rows"]
    assert reported == pytest.approx(tuned / 100, abs=1e-6)
    assert reported >= record.metrics["evaluation/f1"] - 1e-9
    threshold = record.metrics["validation/threshold"]
    assert all((answers[name] == "") or na_probs[name] <= threshold + 1e-6 for name in answers)
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    assert [row["id"] for row in rows] == [question.id for question in questions]
    assert all(row["prediction"] == answers[row["id"]] for row in rows)
    assert record.rows["evaluation_questions"] == 240
    assert record.rows["evaluation_lossy_answers"] == 0
    steps = [path.name for path in (folder / "activations").glob("step=*")]
    assert "step=000000.safetensors" in steps and "step=000012.safetensors" in steps
    assert all(len(each) <= 3 for each in read(folder / "nbest_predictions.json").values())


def test_the_ablation_has_no_answerability_head(compute):
    _, record = compute(*SMALL, "method=full_finetune", "task.answerability=null_span")
    assert 0 <= record.metrics["evaluation/f1"] <= 1


@pytest.mark.parametrize("method", ["abstain", "majority", "random"])
def test_baselines(compute, questions, method):
    folder, record = compute("task=squad_v2", f"method={method}")
    own = evaluate_squad(questions, read(folder / "predictions.json")).figures
    assert record.metrics["evaluation/f1"] == own["f1"] / 100
    assert record.rows["evaluation_lossy_answers"] == 0
    assert not (folder / "lossy_answers.json").exists()
    if method == "random":
        assert 20 < own["exact"] < 50
    else:  # no answer is the most frequent one
        assert own["exact"] == own["f1"] == 50.0
