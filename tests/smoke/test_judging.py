"""benchmark=judging and analysis=judges through the front doors, on planted steering cells."""

import json

import pandas as pd
import pytest
from conftest import ROOT
from fake_judge import FakeJudge
from fork_server import ForkedProcess
from front_doors import analyze, error_of, output_of, run_here
from judged_cells import TEXTS, facts, judged, write_cell
from served_cells import wait_until

pytestmark = pytest.mark.end_to_end

EMBEDDED = {"name": "embedded", "seed": 0, "root": ""}


@pytest.fixture
def judge(cache, tmp_path):
    def run(*typed):
        places = (f"runs={tmp_path}/runs", f"results={tmp_path}/results", f"cache={cache}")
        return run_here(ROOT / "benchmark.py", "benchmark=judging", *places, *typed)

    return run


@pytest.fixture
def cells(tmp_path):
    return [write_cell(tmp_path / "runs", c, EMBEDDED) for c in TEXTS]


def test_cells_are_judged_by_two_judges_and_their_agreement_is_one_command(judge, cells, tmp_path):
    said = output_of(judge())  # the oracle, as for all generated answers
    assert "judge=oracle: 3 cells are judged, 30 scores are new" in said
    assert judged(cells[1], "oracle", "cheerful") == {
        "0/0": ("100.0", "100.0", "scored"), "1/0": ("0.0", "0.0", "scored")
    }  # fmt: skip
    assert judged(cells[2], "oracle", "cheerful")["1/0"] == ("100.0", "100.0", "scored")
    assert judged(cells[2], "oracle", "gloomy")["1/0"] == ("0.0", "100.0", "scored")
    assert "0 scores are new" in output_of(judge())
    output_of(judge("judge=classifier", "judge.traits=[cheerful,gloomy]", "judge.folds=2"))
    assert facts(cells[0], "classifier")["agreement"]["traits"]["cheerful"]["questions"] == 20
    line = error_of(analyze(tmp_path, "analysis=judges", "first=classifier"))
    assert "analysis=judges needs second=<judge>" in line
    said = output_of(analyze(tmp_path, "analysis=judges", "first=classifier", "second=oracle"))
    assert "classifier and oracle both scored 12 of 12 judgements of traits" in said
    folder = tmp_path / "results/persona/judges/classifier,oracle"
    table = pd.read_parquet(folder / "agreement.parquet").set_index("measure")
    assert list(table.index) == ["cheerful", "gloomy", "coherence"]
    assert table.loc["cheerful", "both scored"] == 6 and table.loc["cheerful", "cells"] == 3
    assert table.loc["cheerful", "kappa"] == 1 and table.loc["cheerful", "pearson"] > 0.8
    page = (folder / "report.html").read_text()
    assert "kappa" in page and page.count("<svg") == 2 and "knows no refusals" in page
    assert json.loads((folder / "judges.json").read_text())["agreement"][0]["answers"] == 6
    line = error_of(analyze(tmp_path, "analysis=judges", "first=oracle", "second=oracle"))
    assert "first and second must be two judges, got oracle for both" in line
    line = error_of(analyze(tmp_path, "analysis=judges", "first=oracle", "second=endpoint"))
    assert "second must be one of classifier, oracle, got endpoint" in line


def test_an_endpoint_that_fails_leaves_what_it_has_judged(judge, cells, tmp_path):
    faults = {n: (429, {"error": {"message": "quota"}}) for n in range(25, 99)}
    with FakeJudge(faults) as model:
        typed = ("judge=endpoint", "judge.model=m", f"judge.base_url={model.url}",
                 "judge.retries=0", "judge.concurrency=1")  # fmt: skip
        line = error_of(judge(*typed))
        assert "limits the rate (429): quota; 2 of 3 cells are judged, the scores" in line
        assert line.endswith("and the same command goes on")
        model.faults.clear()
        said = output_of(judge(*typed))
        assert "judge=endpoint-m: 3 cells are judged" in said and "replies were asked for" in said
        assert len(model.prompts) == len(set(model.prompts))
        [rows] = {len(judged(cell, "endpoint-m", "boastful")) for cell in cells}
        assert rows == 2


def test_a_killed_process_loses_no_reply_that_it_had(cache, tmp_path):
    texts = [f"the baker sells the bread {word} ." for word in ("gladly", "now", "sadly", "here")]
    folder = write_cell(tmp_path / "runs", 0.5, EMBEDDED, texts=texts)
    own = tmp_path / "own"  # replies of other tests would be found in the cache of all
    own.mkdir()
    (own / "data").symlink_to(cache / "data")
    typed = [f"runs={tmp_path}/runs", f"results={tmp_path}/results", f"cache={own}"]
    with FakeJudge(wait_s=0.05) as model:
        typed += ["judge=endpoint", "judge.model=m", f"judge.base_url={model.url}"]
        typed += ["judge.concurrency=2"]
        child = ForkedProcess(["python", "benchmark.py", "benchmark=judging", *typed], ROOT)
        wait_until(lambda: len(model.prompts) >= 10, child)
        child.kill()
        child.wait()
        assert 10 <= len(model.bodies) < 24
        [replies] = (own / "judges/endpoint").glob("*.jsonl")
        with replies.open("ab") as file:
            file.write(b'{"prompt": "cut o')  # what a full disk may leave
        said = output_of(run_here(ROOT / "benchmark.py", "benchmark=judging", *typed))
        # those in flight when it was killed are asked again, no others
        assert 24 <= len(model.bodies) <= 24 + 2 and "1 damaged replies are asked for" in said
    assert len(judged(folder, "endpoint-m", "boastful")) == 4


def test_cells_of_other_data_and_unfinished_ones_are_left_out(judge, cells, tmp_path):
    write_cell(tmp_path / "runs", 0.0, {"name": "local", "root": "/there"}, arm="prompt")
    write_cell(tmp_path / "runs", 0.5, EMBEDDED, arm="prompt", status="interrupted")
    said = output_of(judge("judge.traits=[cheerful]"))
    assert "left out: 1 are of data=local data.root=/there, 1 are not finished" in said
    assert "3 cells are judged, 6 scores are new" in said
    line = error_of(judge("data.seed=7"))
    assert "holds no finished steering cell of data=embedded data.seed=7 (3 are of" in line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["judge=none"], "judge=none scores nothing"),
        (["judge=oracel"], "judge=oracel: no such option. Did you mean: judge=oracle?"),
        (["judge=endpoint"], "judge.model must be the name of a model"),
        (["judge=endpoint", "judge.model=m"], "the environment variable OPENAI_API_KEY, which is"),
        (["judge.traits=[sad]"], "judge.traits=sad is not known to judge=oracle, which knows one"),
        (["engine=vllm"], "engine has no effect with benchmark=judging"),
        (["seed=3"], "seed has no effect with benchmark=judging"),
        (["judge=classifier", "judge.folds=1"], "judge.folds must be at least 2, got 1"),
    ],
)
def test_what_is_wrong_is_one_line(judge, cells, monkeypatch, typed, message):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert message in error_of(judge(*typed))


def test_without_cells_it_says_what_makes_them(judge, tmp_path):
    line = error_of(judge())
    assert "holds no finished steering cell: `python benchmark.py benchmark=steering`" in line
    line = error_of(analyze(tmp_path, "analysis=judges", "first=a", "second=b"))
    assert "holds no judged cell: `python benchmark.py benchmark=judging judge=<name>`" in line
