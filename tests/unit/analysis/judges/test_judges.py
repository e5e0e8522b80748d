"""analysis=judges on planted files: what is paired, what is counted, and what the figures are."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from front_doors import analyse, output_of

from loradrift.analysis.judges import tables
from loradrift.analysis.judges.reading import read_both
from loradrift.analysis.judges.tables import cell_pearson
from loradrift.config import UserError
from loradrift.files import write_json
from loradrift.judges.judged import COLUMNS

QUESTIONS = 6


def plant(runs, cell, judge, trait, scores):
    """A file of scores: of each answer trait, coherence, or a status without them."""
    folder = runs / "steering/hf" / cell
    write_json(folder / "run.json", {
        "schema_version": 3, "kind": "steering", "status": "success", "coordinates": {},
        "config": {"trait": "kind", "arm": cell.partition("=")[2][:1], "coefficient": 0.5},
    })  # fmt: skip
    place = folder / "judged" / judge
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{trait}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, score in enumerate(scores):
            said = ["", "", score] if isinstance(score, str) else [*score, "scored"]
            question = f"question {number % QUESTIONS} ?"
            writer.writerow([number, question, f"answer {number}", *said])
    write_json(place / "judge.json", {"judge": judge, "limits": [f"what {judge} misses"]})


def draw(seed, count=24, noise=10.0, base=50.0):
    rng = np.random.default_rng(seed)
    first = np.clip(rng.normal(base, 25, count), 0, 100)
    second = np.clip(first + rng.normal(0, noise, count), 0, 100)
    return [
        [(float(score), float(90 - i)) for i, score in enumerate(each)] for each in (first, second)
    ]


@pytest.fixture
def runs(tmp_path):
    for place, cell in enumerate(("a=1", "b=1", "c=1", "d=1")):
        first, second = draw(place, base=30 + 15 * place)
        first[3], second[3], second[4], first[5] = "refusal", "empty", "unparsable", "unparsable"
        plant(tmp_path / "runs", cell, "one", "kind", first)
        plant(tmp_path / "runs", cell, "two-x", "kind", second)
    plant(tmp_path / "runs", "a=1", "one", "loud", draw(9)[0])  # the other has not judged it
    return tmp_path / "runs"


def test_every_answer_of_both_is_counted_and_figures_are_of_the_scored(runs, tmp_path):
    said = output_of(analyse("judges", tmp_path, keys={"first": "one", "second": "two"}))
    assert "one and two-x both scored 84 of 96 judgements of traits: kappa is " in said
    folder = tmp_path / "results/persona/judges/one,two-x"
    table = pd.read_parquet(folder / "agreement.parquet").set_index("measure")
    assert list(table.index) == ["kind", "coherence"]
    row = table.loc["kind"]
    assert list(row[["answers", "both scored", "first alone", "second alone"]]) == [96, 84, 4, 4]
    assert (row["questions"], row["cells"]) == (6, 4)
    scores = pd.read_parquet(folder / "scores.parquet")
    own = scores[scores["measure"] == "kind"]
    assert row["pearson"] == pytest.approx(np.corrcoef(own["first"], own["second"])[0, 1])
    means = own.groupby("cell")[["first", "second"]].mean()
    assert row["cell_pearson"] == pytest.approx(np.corrcoef(means.T)[0, 1])
    assert row["cell_pearson_low"] <= row["cell_pearson"] <= row["cell_pearson_high"]
    # both say the same of coherence, and 75 is its line
    coherence = scores[scores["measure"] == "coherence"]
    assert len(coherence) == 84 and (coherence["first"] == coherence["second"]).all()
    assert table.loc["coherence", "kappa"] == 1
    gaps = pd.read_parquet(folder / "examples.parquet").query("measure == 'kind'")["gap"]
    assert list(gaps) == sorted((own["first"] - own["second"]).abs(), reverse=True)[:3]
    told = json.loads((folder / "judges.json").read_text())
    assert told["first"] == "one" and told["agreement"][0]["both scored"] == 84
    page = (folder / "report.html").read_text()
    assert "two-x: what two-x misses" in page and page.count("<svg") == 2
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    output_of(analyse("judges", tmp_path, keys={"first": "one", "second": "two-x"}))
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_answers_that_differ_are_not_paired(runs):
    path = runs / "steering/hf/a=1/judged/one/kind.csv"
    path.write_text(path.read_text().replace("answer 7", "another"))
    rows = read_both(runs, "one", "two-x").rows
    assert len(rows) == 95 and len(rows[rows["cell"] == "hf/a=1"]) == 23


def test_cells_are_weighted_by_the_questions_that_were_drawn(monkeypatch):
    monkeypatch.setattr(tables, "NUM_RESAMPLES", 100)
    rng = np.random.default_rng(0)
    rows = [
        {"cell": cell, "question": question, "first": x, "second": x + rng.normal(0, 20)}
        for cell in range(5)
        for question in range(7)
        for x in rng.normal(10 * cell, 10, size=rng.integers(1, 4))
    ]
    both = pd.DataFrame(rows)
    found = cell_pearson(both, np.random.default_rng(1))
    by_hand = []
    for counts in np.random.default_rng(1).multinomial(7, [1 / 7] * 7, 100):
        weights = both["question"].map(dict(enumerate(counts))).to_numpy()
        means = [
            [np.average(both[side][both["cell"] == cell], weights=weights[both["cell"] == cell])
             for cell in range(5)]
            for side in ("first", "second")
        ]  # fmt: skip
        by_hand.append(np.corrcoef(means)[0, 1])
    assert (found.low, found.high) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]))
    few = both[both["cell"] < 2]
    assert np.isnan(cell_pearson(few, np.random.default_rng(1)).estimate)


def test_a_judge_that_calls_all_alike_has_no_kappa(tmp_path):
    plant(tmp_path / "runs", "a=1", "one", "kind", [(10.0, 90.0)] * 8)
    plant(tmp_path / "runs", "a=1", "two", "kind", [(20.0, 80.0)] * 8)
    said = output_of(analyse("judges", tmp_path, keys={"first": "one", "second": "two"}))
    assert "kappa is not defined, because one of them calls all answers alike" in said


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("one", "one", "first and second must be two judges, got one for both"),
        ("two", "two-x", "first and second must be two judges, got two-x for both"),
        ("three", "one", "first must be one of one, two-x, got three"),
    ],
)
def test_judges_that_are_not_there_are_named(runs, first, second, message):
    with pytest.raises(UserError, match=message):
        read_both(runs, first, second)


def test_a_beginning_that_two_have_and_judges_without_a_common_answer(runs):
    plant(runs, "e=1", "two-y", "loud", draw(1)[0])
    with pytest.raises(UserError, match="second must be one of two-x, two-y, got two"):
        read_both(runs, "one", "two")
    with pytest.raises(UserError, match="was judged by both one and two-y for the same trait"):
        read_both(runs, "one", "two-y")
    with pytest.raises(UserError, match="holds no judged cell"):
        read_both(runs / "elsewhere", "one", "two")
