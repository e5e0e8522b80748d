"""``analyze.py analysis=squad_v2``: the figures of any system's files, and bad input."""

import json
import sys
from pathlib import Path

import pytest
from fork_server import ForkedProcess
from front_doors import ROOT, analyse, error_of, output_of, run_here

QUESTIONS = {  # id -> gold answers
    "q1": [("Ann", 0)],
    "q2": [],
    "q3": [("Bob", 8), ("a Bob", 8)],  # the second does not stand there
    "q4": [],
}


@pytest.fixture
def files(tmp_path):
    """A dataset, predictions and probabilities, each of which may be replaced."""

    def write(**contents) -> dict[str, str]:
        paths = {key: str(tmp_path / f"{key}.json") for key in defaults | contents}
        for key, value in (defaults | contents).items():
            text = value if isinstance(value, str) else json.dumps(value)
            Path(paths[key]).write_text(text, encoding="utf-8")
        return paths

    qas = [question(id, answers) for id, answers in QUESTIONS.items()]
    predictions = {"q1": "Ann Lee", "q2": "", "q3": "the Bob!", "q4": "Bob"}
    defaults = {"dataset": dataset(qas), "predictions": predictions}
    return write


def question(id, answers, text="Who?"):
    golds = [{"text": gold, "answer_start": start} for gold, start in answers]
    return {"id": id, "question": text, "is_impossible": not answers, "answers": golds}


def dataset(qas):
    return {"data": [{"title": "", "paragraphs": [{"context": "Ann saw Bob", "qas": qas}]}]}


def test_the_figures_alone_are_on_stdout(files):
    na_probs = {"q4": 0.9, "q1": 0.2, "q2": 2, "q3": 0.2, "zz": 0.1}
    predictions = {"q1": "Ann Lee", "q3": "the Bob!", "q4": "Bob", "x": "", "y": ""}
    paths = files(na_probs=na_probs, predictions=predictions)
    given = [f"{key}={path}" for key, path in paths.items()]
    process = ForkedProcess([sys.executable, "analyze.py", "analysis=squad_v2", *given], ROOT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    figures = json.loads(out)
    assert list(figures) == [
        "exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact",
        "NoAns_f1", "NoAns_total", "best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh",
    ]  # fmt: skip
    assert out == json.dumps(figures, indent=2) + "\n"
    # q2 has no prediction. Ann against Ann Lee: exact 0, F1 2/3.
    assert figures["total"] == 3 and figures["exact"] == pytest.approx(100 / 3)
    assert figures["HasAns_f1"] == pytest.approx(100 * 5 / 6) and figures["NoAns_total"] == 1
    assert figures["best_f1"] == pytest.approx(100 * (1 + 5 / 3) / 3)
    assert figures["best_f1_thresh"] == 0.2
    oddities, missing, unknown, strange, wide = err.splitlines()
    assert oddities.startswith("warning: what the official evaluation does not look at in ")
    assert oddities.endswith(
        "(training refuses it): 1; data[0].paragraphs[0].qas[2].answers[1].text is 'a Bob', but "
        "at answer_start=8 the context has 'Bob'"
    )
    assert missing == "warning: questions without a prediction: 1 ('q2'); in no figure"
    assert unknown.endswith(f"{paths['dataset']} does not have: 2 ('x', 'y'); ignored")
    assert strange.endswith(f"{paths['dataset']} does not have: 1 ('zz'); ignored")
    assert "outside [0, 1]: 1 ('q2'); as the official evaluation does" in wide


def test_without_probabilities(files):
    figures = json.loads(output_of(analyse("squad_v2", keys=files())))
    assert figures["exact"] == 50.0 and "best_exact" not in figures


def test_an_empty_id_and_a_blank_question_are_listed(files):
    odd = dataset([question("", []), question("q", [], " ")])
    done = analyse("squad_v2", keys=files(dataset=odd, predictions={"": "", "q": "Ann"}))
    assert json.loads(output_of(done))["exact"] == 50.0
    [line] = done.stderr.splitlines()
    place = "data[0].paragraphs[0].qas"
    assert line.endswith(
        f": 2; {place}[0].id must not be empty; {place}[1].question must not be empty"
    )


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"dataset": '{"data": 3}'}, "dataset.json: data must be of type list, got int"),
        ({"predictions": "{"}, "predictions.json is no JSON: Expecting property name"),
        ({"predictions": []}, "must be a JSON object, question id -> answer, got list"),
        ({"predictions": {"q1": None}}, "'q1' must have a string, got null"),
        ({"predictions": '{"q1": "", "q1": "x"}'}, "has the key 'q1' twice in one object"),
        (
            {"predictions": {"q9": ""}},
            "predictions: none of its 1 ids is one of the 4 questions of the dataset",
        ),
        ({"na_probs": [0.5]}, "must be a JSON object, question id -> probability, got list"),
        ({"na_probs": {"q1": "0.5"}}, """'q1' must have a finite number, got "0.5\""""),
        ({"na_probs": {"q1": True}}, "'q1' must have a finite number, got true"),
        ({"na_probs": {"q1": float("nan")}}, "'q1' must have a finite number, got NaN"),
        ({"na_probs": {"q1": -float("inf")}}, "'q1' must have a finite number, got -Infinity"),
        ({"na_probs": {"q1": 10**400}}, "'q1' must have a finite number, got 1000"),
        ({"na_probs": {"q1": 0.5, "q2": 0}}, "na_probs lacks 2 ('q3', 'q4'), for which there"),
    ],
)
def test_a_mistake_is_one_clear_line(files, contents, message):
    done = analyse("squad_v2", keys=files(**contents))
    assert message in error_of(done) and not done.stdout


@pytest.mark.parametrize("key", ["dataset", "predictions", "na_probs"])
def test_a_missing_file_is_named(files, key):
    paths = files(na_probs={"q1": 0.5})
    Path(paths[key]).unlink()
    assert f"{key}.json is missing: a " in error_of(analyse("squad_v2", keys=paths))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("dataset=runs/seed=1/d.json", """: 'dataset="runs/seed=1/d.json"'"""),
        ("dataset", "dataset cannot be read: an override is key=value"),
    ],
)
def test_a_path_that_needs_quotes_says_so(typed, message):
    done = run_here(ROOT / "analyze.py", "analysis=squad_v2", typed)
    assert error_of(done).endswith(message)
