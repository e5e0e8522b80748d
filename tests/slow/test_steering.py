"""On the generated world: weights and vectors move a trait with the dose, random ones do not."""

import csv
import json
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest
from conftest import ROOT
from front_doors import output_of, run_here

pytestmark = pytest.mark.slow

CLOSE = 3.0
"""Points by which a larger dose may fall behind a smaller one: 40 answers are drawn a cell."""

DOSES = {
    "weight": (-0.5, -0.25, 0.125, 0.25, 0.5),
    "activation": (-4, -2, 2, 4),
    "random_weight": (-0.5, 0.5),
    "random_activation": (-4, 4),
    "prompt": (-1, 1),
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory, cache):
    """Mean score and coherence of each arm's answers by coefficient; 0 is the base model's."""
    folder = tmp_path_factory.mktemp("world")
    places = [f"cache={cache}", f"runs={folder}/runs", f"results={folder}/results"]
    sides = ("task=persona", "method=rslora", "task.trait=cheerful", "task.side=pos,neg", "seed=1")
    output_of(run_here(ROOT / "train.py", *sides, *places, "-m"))
    read = [f"analysis.runs={folder}/runs", f"analysis.results={folder}/results"]
    output_of(run_here(ROOT / "analyze.py", "analysis=persona_direction", f"cache={cache}", *read))
    steer = (ROOT / "benchmark.py", "benchmark=steering", "trait=cheerful", *places)
    output_of(run_here(*steer, "arm=none"))
    for arm, coefficients in DOSES.items():
        doses = f"coefficient={','.join(map(str, coefficients))}"
        seed = [] if arm == "prompt" else ["steering.direction_seed=1"]
        output_of(run_here(*steer, f"arm={arm}", doses, *seed, "-m"))
    found = [judged(path.parent) for path in folder.glob("runs/steering/hf/*/run.json")]
    base = next(values for arm, _, values in found if arm == "none")
    return {
        arm: {0.0: base} | {dose: values for own, dose, values in found if own == arm}
        for arm in DOSES
    }


def judged(cell: Path):
    """Arm, coefficient, and the means of trait, coherence and neutral loss."""
    record = json.loads((cell / "run.json").read_text())
    with (cell / "judged/oracle/cheerful.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "scored"]
    means = [mean(float(row[key]) for row in rows) for key in ("trait", "coherence")]
    config = record["config"]
    return config["arm"], config["coefficient"], (*means, record["metrics"]["neutral_loss"])


@pytest.mark.parametrize(("arm", "least"), [("weight", 60), ("activation", 20)])
def test_a_larger_dose_gives_more_of_the_trait(scores, arm, least):
    traits = [scores[arm][dose][0] for dose in sorted(scores[arm])]
    for smaller, larger in pairwise(traits):
        assert larger > smaller - CLOSE
    assert traits[-1] - traits[0] > least


def test_random_doses_of_the_same_size_do_not(scores):
    for arm in ("random_weight", "random_activation"):
        base = scores[arm][0.0][0]
        assert all(abs(trait - base) < 12 for trait, *_ in scores[arm].values())


def test_instructions_move_the_trait_both_ways(scores):
    against, plain, towards = (scores["prompt"][dose][0] for dose in (-1.0, 0.0, 1.0))
    assert against < plain - 10 < towards - 40


def test_weights_cost_little_coherence_and_no_neutral_text(scores):
    _, coherence, loss = scores["weight"][0.5]
    _, before, plain = scores["weight"][0.0]
    assert coherence > before - 10 and loss < plain + 0.05
