"""A search's best values as a file, those on the edge of their range, and a run that takes them."""

import math

import optuna
import pytest
from front_doors import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int
from optuna.trial import TrialState, create_trial
from planted_search import add, plant

from loradrift import config
from loradrift.cli.resolved_config import resolve_config
from loradrift.config import UserError, identity
from loradrift.runs import Status, open_run
from loradrift.sweeping.best import write_best
from loradrift.sweeping.range_boundary import find_boundary_optima, typed

HEADER = """\
# The best of the search main/sst2/lora: trial 2, validation/accuracy 0.91 (3 complete, 1 fail, 1 pruned).
# best=true uses these values; explicit overrides take precedence.
# method.optim.lr=0.0099 is on the upper edge of tag(log,interval(0.0001,0.01))
# method.rank=16 is on the upper edge of choice(4,8,16)
"""  # noqa: E501
VALUES = """\
task: sst2
method: lora
method.dropout: 0.1
method.optim.lr: 0.0099
method.rank: 16
"""


@pytest.fixture
def run(tmp_path):
    """``run("best=true", …)`` gives the judged configuration, as the front door does."""
    config.register()
    places = [f"runs={tmp_path}/runs", f"results={tmp_path}/results"]
    return lambda *overrides: resolve_config(composed(*places, *overrides), overrides)


@pytest.fixture
def best(tmp_path):
    return write_best(plant(tmp_path), tmp_path / "results")


def test_the_file_says_which_trial_and_what_it_tried(tmp_path):
    study = plant(tmp_path)
    best = write_best(study, tmp_path / "results")
    assert best == tmp_path / "results/search/main/sst2_lora.yaml"
    assert best.read_text() == HEADER + VALUES
    add(study, TrialState.COMPLETE, 0.91, lr=1e-3)  # of equal values the first trial is the best
    assert write_best(study, tmp_path / "results").read_text().split("\n", 4)[4] == VALUES


def test_the_least_loss_is_best_and_without_a_completed_trial_nothing(tmp_path):
    study = optuna.create_study(study_name="main/sst2/lora", direction="minimize")
    for value in (0.5, 0.2, 0.9):
        space = {"method.target_modules": Choice(["[q_proj]", "[q_proj,'v']"])}
        params = {"method.target_modules": "[q_proj,'v']" if value == 0.2 else "[q_proj]"}
        study.add_trial(create_trial(value=value, params=params, distributions=space))
    text = write_best(study, tmp_path).read_text()
    assert "trial 1, objective 0.2" in text
    assert "method.target_modules:\n- q_proj\n- v\n" in text
    with pytest.raises(UserError, match="main/sst2/lora: no trial was completed"):
        write_best(plant(tmp_path, trials=0), tmp_path)


def test_a_run_takes_the_values_and_a_typed_key_wins(best, run):
    plain, searched = run(), run("best=true")
    assert (searched.method.optim.lr, searched.method.rank) == (0.0099, 16)
    assert plain.method.optim.lr != 0.0099
    assert run("best=true", "method.rank=2").method.rank == 2
    assert run("best=true", "method.optim={lr: 1e-3}").method.optim.lr == 1e-3
    assert run(f"best={best}").method.rank == 16
    assert run("best=false").cell == plain.cell
    # it is part of the variant, but not of the identity
    assert searched.cell.parts[-2:] == ("lora,best=True", "seed=0")
    assert "best" not in identity(searched)
    assert identity(searched)["method"]["rank"] == 16


def test_a_new_search_with_other_values_is_noticed(best, run):
    with open_run(run("best=true")) as cell:
        cell.save(status=Status.SUCCESS)
    best.write_text(best.read_text().replace("rank: 16", "rank: 4"))
    with pytest.raises(UserError, match=r"another configuration: method\.rank: 16 -> 4"):
        open_run(run("best=true")).__enter__()


def test_a_wrong_file_is_one_line_that_names_it(run, tmp_path):
    for text, message in (
        ("method.rnak: 4", r"method\.rnak: Key 'rnak' .*Did you mean: 'rank'\? .*some\.yaml"),
        ("method.rank: 0", r"method\.rank must be positive, got 0 \(with the values of .*some"),
        ("method.rank: x", r"method\.rank: Value 'x' .*Integer.*some\.yaml"),
        ("task: mrpc", r"some\.yaml is for task=mrpc, and the run is of task=sst2"),
        ("method: rslora", r"some\.yaml is for method=rslora, and the run is of method=lora"),
        ("scale: paper", r"some\.yaml is for scale=paper, and the run is of scale=tiny"),
        ("- 1", r"some\.yaml must map keys"),
        ("{}", r"some\.yaml holds no value that a search finds, such as method\.optim\.lr"),
        ("task: sst2", r"some\.yaml holds no value that a search finds"),
        ("a: [", r"some\.yaml is no YAML"),
    ):
        path = tmp_path / "some.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=message) as caught:
            run(f"best={path}")
        assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_it(run):
    for overrides, message in (
        (["best=true"], r"best=true: there is no .*sst2_lora\.yaml; "
         r"`python train\.py search=lora task=sst2 runs=.* results=.* -m` makes it"),
        (["best=true", "method=rslora", "study.name=x"],
         r"`python train\.py search=lora task=sst2 method=rslora study\.name=x runs=.* -m`"),
        (["best=nowhere.yaml"], r"there is no nowhere\.yaml; .* makes .*sst2_lora\.yaml"),
        (["best=true", "method=majority"], "best=true has no effect on method=majority"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            run(*overrides)


LOG = Float(5e-5, 5e-3, log=True)
INSIDE_LOG = 5e-5 * math.exp(0.06 * math.log(100))
"""At 6 % of the range, in its logarithm; in a linear range it is at the edge."""


def trial(space, value):
    return create_trial(value=0.5, params={"method.x": value}, distributions={"method.x": space})


def as_read(override):
    parsed = OverridesParser.create().parse_override(override)
    return create_optuna_distribution_from_override(parsed)


def test_an_edge_comes_with_its_range_as_typed():
    for space, searched, edges in (
        (LOG, "tag(log,interval(5e-05,0.005))", {"upper": 4.9e-3, "lower": 5.1e-5}),
        (Float(0.0, 0.2), "interval(0.0,0.2)", {"upper": 0.195}),
        (Float(0.1, 0.3), "interval(0.1,0.3)", {"lower": 0.1}),
        (Float(-1.0, 1.0), "interval(-1.0,1.0)", {"lower": -1.0}),
        (Int(8, 64), "int(interval(8,64))", {"upper": 62, "lower": 8}),
        (Int(1, 100, log=True), "int(tag(log,interval(1,100)))", {"upper": 95}),
        (Int(2, 8, step=2), "range(2,10,2)", {"upper": 8}),
        (Choice([4, 8, 16, 32]), "choice(4,8,16,32)", {"upper": 32, "lower": 4}),
        (Choice([16, 4, 8]), "choice(16,4,8)", {"upper": 16}),
        (Choice([0, 0.1]), "choice(0,0.1)", {"upper": 0.1}),
        (Float(5e-5, 5e-3), "interval(5e-05,0.005)", {"lower": INSIDE_LOG}),
    ):
        for side, value in edges.items():
            [edge] = find_boundary_optima(trial(space, value))
            assert edge == ("method.x", f"{value:.4g}", side, searched)
        assert as_read(f"method.x={searched}") == space


def test_what_lies_inside_or_has_no_beyond_is_no_edge():
    for space, value in (
        (LOG, 5e-4), (LOG, INSIDE_LOG), (Float(1.0, 1.0), 1.0),
        (Float(0.0, 0.2), 0.0),  # nothing lies below no dropout
        (Int(8, 64), 12), (Int(1, 4), 1), (Choice([4]), 4), (Choice([1, 2]), 1),
        (Choice([4, 8, 16]), 8), (Choice(["a", "b"]), "a"), (Choice([True, False]), True),
    ):  # fmt: skip
        assert find_boundary_optima(trial(space, value)) == []


@pytest.mark.parametrize("space", [LOG, Int(1, 9, step=2), Float(0, 1, step=0.25), Int(3, 5)])
def test_a_range_is_read_back_as_it_was(space):
    assert as_read(f"method.x={typed(space)}") == space
