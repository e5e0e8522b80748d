"""Answers counted from a cell's files: of all phases, and what a wrong one takes away."""

import json

import pandas as pd
import pytest
from serving_cells import FEW, Simulated, verdict_of
from untimed_rows import SLOW_S, told_apart

from loradrift.analysis.serving.answers import (
    answers_text,
    apart_text,
    contradictions,
    count_answers,
)
from loradrift.analysis.serving.reading import read_cell
from loradrift.analysis.serving.tables import measure

COLD, SEARCH = "cold_samples.parquet", "server/search/multi_2_adapters.parquet"


def written(tmp_path, **changes):
    """A cell without a server."""
    return Simulated(**{**FEW, "served_kinds": (), **changes}).write(tmp_path / "runs")


def change_samples(folder, change):
    """Change the samples of the first offline round."""
    path = folder / "rounds" / "round=000.parquet"
    table = pd.read_parquet(path)
    change(table).to_parquet(path, index=False)


def one_of_200_wrong(table):
    """One request in 200 is answered by the other adapter."""
    rows = table.index[table["asked"] == "sst2"][::200]
    table.loc[rows, ["answer", "answered_by"]] = ["differs", "mrpc"]
    return table


def base_gets_an_adapter(table):
    rows = table.index[table["asked"].isna()][:3]
    table.loc[rows, ["answer", "answered_by"]] = ["differs", "mrpc"]
    return table


def served_another(table):
    rows = table.index[table["asked"] == "sst2"][:1]
    table.loc[rows, "served"] = "mrpc"
    return table


def served_by_base(table):
    rows = table.index[table["asked"] == "sst2"][:1]
    table.loc[rows, "served"] = None
    return table


@pytest.mark.parametrize(
    ("change", "count"),
    [(one_of_200_wrong, 1), (base_gets_an_adapter, 3), (served_another, 1), (served_by_base, 1)],
)
def test_answers_of_another_model_take_the_verdict_away(tmp_path, change, count):
    folder = written(tmp_path)
    change_samples(folder, change)
    cell = read_cell(folder)
    answers, verdict = count_answers(cell), verdict_of(cell)
    assert answers.wrong_adapter == count
    assert answers.wrong_adapter_rate == pytest.approx(count / answers.answers)
    assert verdict.verdict == "no data"
    assert f"{count} of {answers.answers} answers are wrong" in verdict.why
    said = " ".join(contradictions(cell, answers))
    assert "checks.json of vllm/tiny says wrong_adapter 0" in said


def test_answers_that_nobody_checked_support_nothing(tmp_path):
    folder = written(tmp_path)
    for path in (folder / "rounds").iterdir():
        pd.read_parquet(path).assign(answer="unchecked").to_parquet(path, index=False)
    cell = read_cell(folder)
    assert not count_answers(cell).sound
    found = verdict_of(cell)
    assert found.verdict == "no data" and "no answer was checked" in found.why


def test_ties_and_unchecked_answers_are_counted_and_take_nothing_away(tmp_path):
    folder = written(tmp_path)

    def change(table):
        table.loc[:4, ["answer", "gap", "equal_tokens"]] = ["tie", 5e-4, 0.5]
        table.loc[5:6, ["answer", "equal_tokens"]] = ["unchecked", 0.0]
        return table

    change_samples(folder, change)
    cell = read_cell(folder)
    found = count_answers(cell)
    assert (found.ties, found.unchecked, found.wrong) == (5, 2, 0)
    answers = len(cell.answers) - 2
    assert (found.answers, found.equal) == (answers, answers - 5)
    assert found.equal_tokens == pytest.approx((answers - 2.5) / answers)
    assert found.largest_gap == 5e-4
    assert verdict_of(cell).verdict == "refuted"


@pytest.fixture
def served(tmp_path):
    """A cell with a server too."""
    return Simulated(**FEW, rounds=1).write(tmp_path / "runs")


def test_first_requests_and_the_search_for_rates_are_checked_and_never_timed(served):
    cell = read_cell(served)
    found, timed = measure(cell, seed=0), len(cell.samples)
    searched = 4 * 2  # requests of both arms of several adapters
    assert (found.answers.first_requests, found.answers.rate_search) == (2 * 4, searched)
    assert found.answers.answers == timed + 8 + searched == cell.checks["answers"]
    assert set(found.calls["phase"]) == {"offline", "closed_loop", "open_loop"}
    for table in (found.latencies, found.bands, found.calls):
        times = table[[name for name in table if name.endswith("_s") and "per_s" not in name]]
        assert len(times.columns) and times.max().max() < SLOW_S / 10
    assert not found.problems
    said = answers_text(found.answers)
    assert f"Of {timed + 16:,} answers 0 were wrong (wrong adapter rate 0 %)" in said
    assert "Among all are 8 to first requests and 8 of the search for rates, which count in" in said


@pytest.mark.parametrize("name", [COLD, SEARCH])
def test_a_wrong_answer_that_is_not_timed_takes_the_verdict_away(served, name):
    table = pd.read_parquet(served / name)
    table.loc[0, ["answer", "answered_by"]] = ["differs", "rte"]
    table.to_parquet(served / name, index=False)
    cell = read_cell(served)
    found = count_answers(cell)
    assert (found.wrong, found.wrong_adapter) == (1, 1)
    assert "1 was wrong" in answers_text(found)
    assert verdict_of(cell).verdict == "no data"
    assert "checks.json of vllm/tiny says wrong 0, its samples 1" in contradictions(cell, found)


def test_answers_that_no_other_model_gives_are_counted(served):
    cell = read_cell(served)
    found = count_answers(cell)
    assert found.told_apart == sum(map(told_apart, cell.answers.to_dict("records")))
    assert 0 < found.told_apart < found.answers
    assert f"; {found.told_apart:,} could be told from every other model's" in answers_text(found)
    path = served / "apart.json"
    saved = json.loads(path.read_text())
    for least in (4, 5):  # of which these answers have 4
        saved["least"]["squad_v2"] = [least] * 32
        path.write_text(json.dumps(saved))
        shorter = count_answers(read_cell(served))
        assert (shorter.told_apart == found.told_apart) == (least == 4)
    asked = (cell.answers["asked"] == "squad_v2").sum()
    assert shorter.told_apart == found.told_apart - asked
    [line] = contradictions(cell, shorter)
    assert f"says told_apart {found.told_apart}, its samples {shorter.told_apart}" in line


def test_models_that_cannot_be_told_apart_may_differ_in_ties(served):
    said = apart_text(read_cell(served).plan)
    assert "coincide, or differ in ties only" in said
    assert said.endswith("told apart: SST-2-like (generated) and MRPC-like (generated).")


def test_without_apart_json_nothing_is_said_of_it_and_a_damaged_one_is_a_line(served):
    path = served / "apart.json"
    for text in ("[]", "{}", '{"shares": [["a", "b"]], "least": {}}', '{"shares": [], "least": 3}'):
        path.write_text(text)
        [problem] = read_cell(served).problems
        assert "apart.json is damaged" in problem and "\n" not in problem
    path.unlink()
    found = count_answers(read_cell(served))
    assert found.told_apart is None and "told from" not in answers_text(found)


def test_base_answers_beside_adapters_are_not_denied(tmp_path):
    folder = written(tmp_path, rounds=1)
    found = count_answers(read_cell(folder))
    assert found.base_answers == 18 and found.base_beside == 0
    assert "18 are of the base model, none in a batch with adapters" in answers_text(found)

    def mix(table):
        rows = table.index[(table["arm"] == "multi_2_adapters") & (table["load"] == 8)][:3]
        table.loc[rows, ["asked", "served"]] = None
        return table

    change_samples(folder, mix)
    found = count_answers(read_cell(folder))
    assert (found.base_answers, found.base_beside) == (21, 3)
    assert "21 are of the base model, 3 of them in a batch with adapters" in answers_text(found)
