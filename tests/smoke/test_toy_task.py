"""A task that this file registers is trained, evaluated, analysed and reported like any other."""

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from front_doors import analyze, output_of
from hydra.core.config_store import ConfigStore

from loradrift import methods
from loradrift.config import METHODS, TASKS, UserError
from loradrift.data import GlueFormat
from loradrift.tasks import register
from loradrift.tasks.classification import glue_task

LABELS = ("contradiction", "entailment", "neutral")
WORDS = {"entailment": "great", "neutral": "slow", "contradiction": "terrible"}

SPEC = glue_task(
    "toy",
    "Toy NLI",
    GlueFormat(
        folder="TOY",
        hub_name="toy",
        text="premise",
        pair="hypothesis",
        label="gold_label",
        hub_columns=("premise", "hypothesis"),
        labels=LABELS,
        question="{text} {pair} true , false or neither ?",
        answers=(" false", " true", " neither"),
    ),
)


@pytest.fixture
def toy():
    """The task, registered for one test."""
    register(SPEC)
    yield
    del TASKS["toy"]
    for group in ("task", "schema"):
        options = ConfigStore.instance().repo[group]
        del (options if group == "task" else options["task"])["toy.yaml"]


@pytest.fixture
def root(tmp_path):
    """Files with the label in the second column, and 3 labels of which the first is rare."""
    draw = Random(0)
    for split, size in (("train", 300), ("dev", 60)):
        lines = ["pair_id\tgold_label\thypothesis\tpremise"]
        for number in range(size):
            label = draw.choice((*LABELS, *LABELS[1:]))
            second = f"it was {WORDS[label]} ."
            lines.append(f"{number}\t{label}\t{second}\tthe film of {split} {number} .")
        path = tmp_path / "data" / "TOY" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


@pytest.mark.end_to_end
def test_a_task_is_one_entry(toy, root, train_here, tmp_path):
    typed = ("task=toy", "data=local", f"data.root={root}", "task.max_steps=30")
    methods = ("full_finetune", "lora", "majority", "random", "zero_shot")
    rates = {"full_finetune": 1e-2, "lora": 3e-2}
    records = {}
    for method in methods:
        rate = [f"method.optim.lr={rates[method]}"] if method in rates else []
        output_of(train_here(*typed, f"method={method}", "seed=1", *rate))
        [path] = tmp_path.glob(f"runs/main/toy/{method}*/seed=1/run.json")
        records[method] = record = json.loads(path.read_text())
        lines = [json.loads(line) for line in (path.parent / "predictions.jsonl").open()]
        right = sum(line["prediction"] == line["label"] for line in lines)
        assert record["metrics"]["evaluation/accuracy"] == pytest.approx(right / 60)
        scores = [f1(lines, label) for label in range(3)]
        assert record["metrics"]["evaluation/f1"] == pytest.approx(sum(scores) / 3)
        assert {line["label"] for line in lines} == {0, 1, 2}
        assert all(len(line["score"]) == 3 for line in lines)
        assert record["task"] == {"label": "Toy NLI", "higher_is_better": True, "head": True}
    assert records["full_finetune"]["metrics"]["evaluation/accuracy"] > 0.9
    train = Counter(line.split("\t")[1] for line in (root / "TOY/train.tsv").open())
    assert train.most_common(1)[0][0] != LABELS[0]

    figures = ("drift_ratio", "layer_profiles", "effective_rank")
    typed = ("analysis=drift", "analysis.study=main", f"analysis.figures=[{','.join(figures)}]")
    output_of(analyze(tmp_path, *typed))
    results = json.loads(next(tmp_path.rglob("drift_analysis_results.json")).read_text())
    assert results["tasks_analyzed"] == ["toy"]
    assert results["task_results"]["toy"]["all_results"]["lora"][0]["seed"] == 1
    for name in figures:
        [figure] = tmp_path.glob(f"results/figures/{name}.svg")
        assert "Toy NLI" in figure.read_text()


def f1(lines, label):
    counts = Counter((line["label"] == label, line["prediction"] == label) for line in lines)
    hits = counts[True, True]
    return 2 * hits / (2 * hits + counts[True, False] + counts[False, True])


def test_a_study_knows_the_task_and_its_baselines_and_refuses_others(toy, load, root):
    config = load("study=drift", "study.tasks=[toy]", "data=local", f"data.root={root}")
    assert config.study.tasks == ["toy"]
    assert [*TASKS["toy"].baselines] == ["majority", "random", "zero_shot"]
    with pytest.raises(UserError, match=r"study.tasks must be .* toy, got tay"):
        load("study=drift", "study.tasks=[tay]")
    with pytest.raises(UserError, match="study.tasks must be some of"):
        load("study=drift", "study.tasks=[pretrain]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "task=toy is registered twice"),
        ({"name": "other", "metrics": {}}, "task=other: its metric accuracy has no direction"),
        ({"name": "a/b"}, "task=a/b must be letters, digits and underscores"),
        ({"name": "other", "metrics": {"accuracy": None}}, "has no direction: .* got None"),
        ({"name": "other", "metrics": {"f1": True}}, "no direction: .* and holds f1"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused(toy, change, message):
    before = list(TASKS)
    with pytest.raises(UserError, match=message):
        register(replace(SPEC, **change))
    assert list(TASKS) == before


def test_a_method_is_registered_once():
    with pytest.raises(UserError, match="method=lora is registered twice"):
        methods.register(METHODS["lora"])
