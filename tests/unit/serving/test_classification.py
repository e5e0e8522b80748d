"""Classifiers of several runs in one engine: a wrong answer is seen, and so is a wrong adapter."""

import json
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from export_cases import write_run
from safetensors.torch import save_file

from loradrift.config import UserError
from loradrift.serving.classification import classify_runs
from loradrift.serving.classification_check import without_adapter
from loradrift.serving.export import export
from loradrift.serving.export_check import class_logits, open_classifier_in_peft

ROWS = {f"dev/{i}": (1, 40 + i, 41, *range(60, 60 + i % 5)) for i in range(20)}


FEWER = len(ROWS) - 5


class Table:
    """The rows that a run was evaluated on: of mrpc there are fewer."""

    def __init__(self, run, base, cache) -> None:
        self.ids = tuple(ROWS)[: len(ROWS) if run.coordinates["task"] == "sst2" else FEWER]

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, number: int) -> tuple[int, ...]:
        return ROWS[self.ids[number]]


class Engine:
    """PEFT in vLLM's place; ``spoil`` changes what it says to a request."""

    start_s = 0.0

    def __init__(self, models, spoil) -> None:
        self.models, self.spoil, self.batches = models, spoil, []

    def classify(self, requests):
        self.batches.append(requests)
        return [self.spoil(each, self.says(each, each.adapter)) for each in requests]

    def says(self, request, name) -> list[float]:
        return class_logits(self.models[name], torch.tensor([request.prompt_ids]))[0].tolist()


@pytest.fixture(scope="module")
def exported(model_folder, tmp_path_factory):
    """Two runs with different heads, whose predictions are their own models'."""
    tmp_path, found = tmp_path_factory.mktemp("exported"), []
    for name in ("sst2", "mrpc"):
        place = {"task": name, "method": "lora", "seed": 1}
        folder = write_run(tmp_path / "runs" / name, model_folder, coordinates=place)
        if name == "mrpc":
            head = {"weight": -torch.ones(3, 32).cumsum(0), "bias": torch.tensor([0.3, 0.0, 0.1])}
            save_file(head, folder / "model" / "head.safetensors")
        servable = replace(export(folder, tmp_path / name), name=name)
        model = open_classifier_in_peft(servable)
        lines = [
            {"id": key, "prediction": int(class_logits(model, torch.tensor([ids]))[0].argmax())}
            for key, ids in ROWS.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "predictions.jsonl").write_text(text)
        found.append(servable)
    return found


@pytest.fixture
def exports(exported, tmp_path, monkeypatch):
    """The same with runs that a test may change."""
    monkeypatch.setattr("loradrift.serving.run_rows.evaluation_table", Table)
    return [
        replace(each, source=shutil.copytree(each.source, tmp_path / "runs" / each.name))
        for each in exported
    ]


@pytest.fixture
def classify(exports, tmp_path, monkeypatch):
    """Classify with an engine whose answers are spoiled."""

    def run(spoil=lambda request, logits: logits, rows=1000, dtype="float32"):
        models = {each.name: open_classifier_in_peft(each) for each in exports}

        @contextmanager
        def opened(settings, labels):
            assert labels == {"sst2": 2, "mrpc": 3}
            run.settings, run.engine = settings, Engine(models, spoil)
            yield run.engine

        monkeypatch.setattr("loradrift.generation.vllm_classify.open_classifier", opened)
        return classify_runs(exports, tmp_path, rows=rows, dtype=dtype, threads=1)

    return run


def test_right_answers_are_found_right(classify):
    found = classify()
    assert found["problem"] is None and found["rows"] == len(ROWS) + FEWER
    for name, rows, labels in (("sst2", len(ROWS), 2), ("mrpc", FEWER, 3)):
        task = found["tasks"][name]
        assert (task["rows"], task["equal_labels"], task["ties"]) == (rows, rows, 0)
        assert (task["num_labels"], task["wrong"], task["largest_difference"]) == (labels, [], 0)
    assert classify.settings.max_length == max(map(len, ROWS.values()))
    # adapters take turns in one batch
    assert [each.adapter for each in classify.engine.batches[-1][:4]] == ["sst2", "mrpc"] * 2


def test_few_rows_are_spread_over_all(classify):
    found = classify(rows=4)
    ids = [each.id for each in classify.engine.batches[-1] if each.adapter == "sst2"]
    assert ids == ["dev/0", "dev/5", "dev/10", "dev/15"] and found["rows"] == 8


def test_another_adapters_answer_is_a_problem(classify):
    def swapped(request, logits):
        if request.adapter == "sst2" and request.id == "dev/7":
            return classify.engine.says(request, "mrpc")[:2]
        return logits

    found = classify(swapped)
    assert found["problem"].startswith("sst2: ")
    assert found["tasks"]["mrpc"]["wrong"] == []


@pytest.mark.parametrize("lost", [0.0, 3e-3, 10.0])
def test_lost_biases_are_a_problem_whether_a_label_changes_or_not(lost, classify):
    found = classify(lambda request, logits: [logits[0] + lost, *logits[1:]])
    problem = found["problem"]
    if not lost:
        assert problem is None
    elif lost == 3e-3:
        assert "a logit of vLLM in float32 differs by 0.003 from PEFT's in fp32, more" in problem
    else:
        assert "rows otherwise than the run did, row dev/" in problem
        assert found["tasks"]["sst2"]["wrong"][0]["margin"] > 1e-3


@pytest.mark.parametrize(("margin", "ties"), [(0.0, 1), (9e-4, 1), (2e-3, 0)])
def test_where_two_logits_are_as_good_as_equal_either_label_is_right(
    margin, ties, classify, exports
):
    path = exports[0].source / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["prediction"] = 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def tied(request, logits):
        tells = (request.adapter, request.id) == ("sst2", "dev/3")
        return [logits[0], logits[0] - margin] if tells else logits

    found = classify(tied)["tasks"]["sst2"]
    assert (found["ties"], len(found["wrong"])) == (ties, 1 - ties)
    assert found["equal_labels"] == len(ROWS) - 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_a_problem(value, classify):
    spoiled = lambda request, logits: [value] * 2 if request.adapter == "sst2" else logits  # noqa: E731
    found = classify(spoiled)
    assert (
        f"sst2: vLLM gives {len(ROWS)} of {len(ROWS)} rows logits that are not"
        in (found["problem"])
    )
    assert found["tasks"]["sst2"]["equal_labels"] == 0


def test_in_bfloat16_an_adapter_that_is_not_applied_is_a_problem(classify, exports):
    """Its logits may be within what rounding through all layers may make."""
    model = open_classifier_in_peft(exports[0])
    with_it = class_logits(model, torch.tensor([ROWS["dev/7"]]))[0]
    with without_adapter(model):
        lost = class_logits(model, torch.tensor([ROWS["dev/7"]]))[0]
    assert torch.equal(class_logits(model, torch.tensor([ROWS["dev/7"]]))[0], with_it)
    apart = float((with_it - lost).abs().max())
    assert 0.05 * max(1.0, float(with_it.abs().max())) < apart

    def spoiled(request, logits):
        return lost.tolist() if (request.adapter, request.id) == ("sst2", "dev/7") else logits

    found = classify(spoiled, dtype="bfloat16")
    assert found["tasks"]["sst2"]["swapped"] == ["dev/7"]
    assert found["tasks"]["mrpc"]["swapped"] == [] and found["problem"] is not None
    rounded = lambda request, logits: torch.tensor(logits).bfloat16().tolist()  # noqa: E731
    assert classify(rounded, dtype="bfloat16")["problem"] is None


def test_classifiers_of_several_bases_are_refused(exports, tmp_path):
    other = replace(exports[1], classifier_base=tmp_path)
    with pytest.raises(UserError, match=r"need one base model, got .*sst2. and .*mrpc"):
        classify_runs([exports[0], other], tmp_path, rows=2)
    language = replace(exports[0], classifier=None)
    with pytest.raises(UserError, match="no export holds a classifier"):
        classify_runs([language], tmp_path, rows=2)


DAMAGED = {
    "": "says nothing of row dev/0",
    "{": "cannot be read: ",
    '{"id": 1}': "cannot be read: ",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_predictions_that_cannot_be_compared_are_refused(text, exports, tmp_path):
    (exports[0].source / "predictions.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"predictions.jsonl {DAMAGED[text]}"):
        classify_runs(exports, tmp_path, rows=2)


def test_an_adapter_without_a_run_has_no_rows(exports, tmp_path):
    (exports[0].source / "run.json").unlink()
    with pytest.raises(UserError, match="is no run: nothing says which rows it is for"):
        classify_runs(exports, tmp_path, rows=2)
