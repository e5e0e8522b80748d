"""A cell's answers are scored once they are there, whatever becomes of the judge."""

import csv
import json
from contextlib import contextmanager

import pytest
from steering_cases import make_config

from loradrift.config import UserError
from loradrift.generation.hf import HfEngine
from loradrift.judges import JudgeConfig, Score, Status
from loradrift.steering import bench


class LengthJudge:
    """Scores an answer by its length; fails at the second as often as it is told."""

    name, traits, fingerprint, facts = "length", ("cheerful", "grim"), "1", {"of": "length"}

    def __init__(self, failures=0):
        self.failures, self.asked, self.costs = failures, [], {}

    def score(self, trait, items):
        for item in items:
            if len(self.asked) == 1 and self.failures:
                self.failures -= 1
                raise UserError("the judge cannot be reached")
            self.asked.append((trait, item.id))
            yield Score(item.id, float(len(item.answer)), 50.0, Status.SCORED)


@pytest.fixture
def judged(world, monkeypatch):
    def run(judge, **keys):
        @contextmanager
        def opened(config, data, cache):
            assert (config.name, data.name) == ("classifier", "local")  # what auto means here
            yield judge

        monkeypatch.setattr(bench, "open_judge", opened)
        config = make_config(world, judge=JudgeConfig(name="auto"), **keys)
        bench.run(config, ())
        return config

    return run


def test_every_trait_that_the_judge_knows_is_scored(judged):
    config = judged(LengthJudge())
    for trait in LengthJudge.traits:
        with (config.cell / f"judged/length/{trait}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["id"] for row in rows] == [f"cheerful/{i}/0" for i in range(3)]
        assert [float(row["trait"]) for row in rows] == [len(row["answer"]) for row in rows]


def test_a_judge_that_fails_leaves_a_finished_cell_and_goes_on_there(judged, monkeypatch):
    judge = LengthJudge(failures=1)
    with pytest.raises(UserError, match="the judge cannot be reached"):
        judged(judge)
    monkeypatch.setattr(HfEngine, "generate", None)  # nothing is answered again
    config = judged(judge)
    record = json.loads((config.cell / "run.json").read_text())
    assert record["status"] == "success" and record["resumed"] == 0
    traits = LengthJudge.traits
    assert sorted(judge.asked) == sorted((t, f"cheerful/{i}/0") for t in traits for i in range(3))


def test_judge_none_leaves_the_answers(world):
    config = make_config(world)
    bench.run(config, ())
    assert not (config.cell / "judged").exists()
