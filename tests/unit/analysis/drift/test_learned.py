"""What was not learned has no verdict: scores against the best constant answer."""

import json

import numpy as np
import pytest
from planted import QUICK, analysed, write_run
from scipy import stats
from torchmetrics.functional.classification import binary_f1_score, multiclass_f1_score

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.hypothesis_data import decide_tables
from loradrift.analysis.drift.learned import judge_run, not_learned
from loradrift.analysis.drift.results_json import drift_results
from loradrift.analysis.drift_report.fairness import first_words, task_words
from loradrift.config import UserError
from loradrift.runs import Cell, read_record

ROWS = 200


def write_predictions(folder, labels, given, *, scores=None, metric="accuracy", value=None):
    """The run's predictions, in another order for each run, and the score of them."""
    rows = [
        {"id": f"r/{i}", "label": label, "prediction": answer, "score": 0.5}
        for i, (label, answer) in enumerate(zip(labels, given, strict=True))
    ]
    for row, score in zip(rows, scores or [], strict=False):
        row["score"] = score
    order = np.random.default_rng(len(str(folder))).permutation(len(rows))
    text = "".join(json.dumps(rows[i]) + "\n" for i in order)
    (folder / "predictions.jsonl").write_text(text)
    record = read_record(folder)
    record.config["task"]["metric"] = metric
    right = [label == answer for label, answer in zip(labels, given, strict=True)]
    record.metrics[f"evaluation/{metric}"] = float(np.mean(right)) if value is None else value
    Cell(folder, record).save()


def answers(share_right, seed):
    """Labels, of which 60 % are 1, and answers of which so many are right."""
    draw = np.random.default_rng(seed)
    labels = np.array([0] * 80 + [1] * 120)
    wrong = draw.permutation(ROWS) >= round(share_right * ROWS)
    return labels.tolist(), np.where(wrong, 1 - labels, labels).tolist()


@pytest.fixture
def tables(tmp_path):
    """Two tasks and two seeds, in which each arm is right so often on each task."""

    def tables(**shares):
        for task, by_method in shares.items():
            for method, share in by_method.items():
                for seed in (1, 2):
                    size = 0.5 if method == "full_finetune" else 0.2
                    options = QUICK | {"num_rows": 40, "task": task}
                    folder = write_run(tmp_path / "runs", method, seed, size=size, **options)
                    if share is not None:
                        write_predictions(folder, *answers(share, seed))
        return analysed(tmp_path)

    return tables


def both(full, lora):
    return {"full_finetune": full, "lora": lora}


def test_a_task_that_neither_arm_learned_takes_no_part(tables):
    found = tables(sst2=both(0.9, 0.85), rte=both(0.62, 0.58))
    learned = found.learned.set_index(["task", "method"])
    assert learned["baseline"].to_list() == [0.6] * 4
    assert learned.loc["sst2", "learned"].all() and not learned.loc["rte", "learned"].any()
    assert not_learned(found.learned) == ["rte"]
    alone = decide_tables(tables(sst2=both(0.9, 0.85)))
    outcomes = decide_tables(found)
    for outcome in outcomes[:2]:
        assert (
            outcome.num_tasks == 1 and "not learned, so without a part in it: RTE" in outcome.note
        )
    h2 = found.reduction.query("task == 'sst2'")
    assert len(h2) == 2 and alone[1].num_seeds == 2
    result = drift_results(found, decide_tables(found))["task_results"]
    assert result["rte"]["learned"]["lora"]["learned"] is False
    assert result["sst2"]["learned"]["lora"]["learned"] is True
    assert "Not learned: rte" in first_words(found)[-1].text
    assert task_words(found) == {"rte": "rte (not learned)"}


def test_one_arm_that_learned_keeps_the_task(tables):
    assert not_learned(tables(sst2=both(0.6, 0.9)).learned) == []


def test_without_any_learned_task_there_is_no_verdict(tables):
    found = tables(sst2=both(0.6, 0.6))
    for outcome in decide_tables(found)[:2]:
        assert outcome.verdict == "no data"
        assert outcome.note.endswith("SST-2; no task is left")


def test_what_cannot_be_judged_says_so_and_takes_part(tables):
    found = tables(sst2=both(None, 0.6))
    row = found.learned.set_index("method").loc["full_finetune"]
    assert row["learned"] is not True and "predictions.jsonl is missing" in row["why_not_judged"]
    assert not_learned(found.learned) == [] and decide_tables(found)[1].num_tasks == 1
    results = drift_results(found, decide_tables(found))["task_results"]
    assert results["sst2"]["learned"]["full_finetune"] == {
        "learned": None, "metric": "accuracy", "score": None, "ci_95": [None, None],
        "baseline": None,
        "why_not_judged": row["why_not_judged"],
    }  # fmt: skip


def test_the_interval_is_over_rows_and_seeds(tables):
    row = tables(sst2=both(0.9, 0.8)).learned.set_index("method").loc["full_finetune"]
    scores = []
    for seed in (1, 2):
        labels, given = answers(0.9, seed)
        scores.append(np.equal(labels, given).astype(float))
    means = np.mean(scores, axis=0)
    rows_half = stats.t.ppf(0.975, ROWS - 1) * means.std(ddof=1) / np.sqrt(ROWS)
    assert row["score"] == pytest.approx(0.9)  # both seeds are right as often: rows alone
    assert row["ci_lower"] == pytest.approx(0.9 - rows_half)


def lone(tmp_path, *arguments, **options):
    """A run with these predictions."""
    folder = write_run(tmp_path / "runs", "lora", 1, size=0.2, num_rows=12, **QUICK)
    write_predictions(folder, *arguments, **options)
    return Run(folder, read_record(folder))


@pytest.mark.parametrize("num_classes", [2, 3])
def test_f1_is_torchmetrics_and_so_is_it_without_each_row(tmp_path, num_classes):
    import torch

    def f1(given, labels):
        pair = torch.tensor(given), torch.tensor(labels)
        if num_classes == 2:
            return float(binary_f1_score(*pair))
        return float(multiclass_f1_score(*pair, num_classes=3, average="macro"))

    draw = np.random.default_rng(0)
    labels = draw.choice(num_classes, 30, p=[0.8, 0.2, 0.0][:num_classes]).tolist()
    given = draw.choice(num_classes, 30).tolist()
    scores = [[0.1, 0.2, 0.7]] * 30 if num_classes == 3 else None
    run = lone(tmp_path, labels, given, scores=scores, metric="f1", value=f1(given, labels))
    judged = judge_run(run)
    assert judged.score == pytest.approx(f1(given, labels))
    order = sorted(range(30), key=lambda i: f"r/{i}")
    for place, row in enumerate(order):
        rest = [i for i in range(30) if i != row]
        expected = f1([given[i] for i in rest], [labels[i] for i in rest])
        assert judged.without_N[place] == pytest.approx(expected)
    # A majority of zeros has an F1 of 0; always 1 is the better constant answer.
    best = max(f1([each] * 30, labels) for each in set(labels))
    assert judged.baseline == pytest.approx(best) and best > 0


def test_squad_answers_are_held_against_no_answer_at_all(tmp_path):
    labels = [[], [], [], ["Denver Broncos"], ["1969", "in 1969"]]
    given = ["", "", "", "the Broncos", "1969"]
    run = lone(tmp_path, labels, given, metric="f1", value=(3 + 2 / 3 + 1) / 5)
    judged = judge_run(run)
    assert judged.baseline == pytest.approx(0.6)
    assert judged.without_N.sum() == pytest.approx(5 * (3 + 2 / 3 + 1) / 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "predictions.jsonl").write_text("{half"), "is damaged"),
        (lambda folder: (folder / "predictions.jsonl").write_text('{"id": 1}\n'), "is damaged"),
        (lambda folder: (folder / "predictions.jsonl").unlink(), "is missing"),
    ],
)
def test_predictions_that_cannot_be_read_are_not_judged(tmp_path, change, said):
    run = lone(tmp_path, *answers(0.9, 1))
    change(run.folder)
    with pytest.raises(UserError, match=said):
        judge_run(run)


def test_predictions_of_another_run_are_not_judged(tmp_path):
    with pytest.raises(UserError, match=r"has accuracy 0.9, run.json 0.4"):
        judge_run(lone(tmp_path, *answers(0.9, 1), value=0.4))


def test_a_metric_without_a_constant_answer_is_not_judged(tmp_path):
    with pytest.raises(UserError, match="no constant answer is known whose correlation"):
        judge_run(lone(tmp_path, *answers(0.9, 1), metric="correlation"))


def test_other_evaluation_rows_widen_h1(tables):
    found = tables(sst2=both(0.9, 0.85))
    own = found.learned.iloc[0]
    h1 = decide_tables(found)[0]
    assert h1.row_standard_error == pytest.approx(own["row_variance"] ** 0.5)
    assert "the interval also holds for other rows than those evaluated" in h1.note
    # the variance of the rows' influence on the log ratio, averaged over seeds
    influence = np.zeros(ROWS)
    for seed in (1, 2):
        for share, sign in ((0.85, 1), (0.9, -1)):
            right = np.equal(*answers(share, seed))
            influence += sign * (right / right.mean() - 1) / 2
    assert own["row_variance"] == pytest.approx((influence**2).sum() / ROWS**2, rel=0.02)
    rows = decide_tables(found._replace(learned=found.learned.assign(row_variance=np.nan)))[0]
    assert rows.row_standard_error is None
    assert rows.ratio_upper / rows.ratio_lower < h1.ratio_upper / h1.ratio_lower
