"""A search's best values as a file, and a run that takes them from it."""

from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from planted_search import add, plant

from loradrift import config
from loradrift.cli.resolved_config import resolve_config
from loradrift.config import UserError, identity
from loradrift.runs import Status, open_run
from loradrift.sweeping.best import write_best

CONF = Path(__file__).parents[3] / "conf"

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

    def judged(*overrides: str) -> config.Config:
        typed = [f"runs={tmp_path}/runs", f"results={tmp_path}/results", *overrides]
        with initialize_config_dir(str(CONF)):
            return resolve_config(compose("train", typed), overrides)

    return judged


@pytest.fixture
def best(tmp_path) -> Path:
    return write_best(plant(tmp_path), tmp_path / "results")


def test_the_file_says_which_trial_and_what_it_tried(best, tmp_path):
    assert best == tmp_path / "results/search/main/sst2_lora.yaml"
    assert best.read_text() == HEADER + VALUES


def test_equal_values_give_the_first_trial_and_equal_bytes(best, tmp_path):
    storage = f"sqlite:///{tmp_path}/runs/.search/main.db"
    study = optuna.load_study(study_name="main/sst2/lora", storage=storage)
    add(study, TrialState.COMPLETE, 0.91, lr=1e-3)
    assert write_best(study, tmp_path / "results").read_text().split("\n", 4)[4] == VALUES


def test_the_least_loss_is_best(tmp_path):
    study = optuna.create_study(study_name="main/sst2/lora", direction="minimize")
    for value in (0.5, 0.2, 0.9):
        space = {"method.target_modules": CategoricalDistribution(["[q_proj]", "[q_proj,'v']"])}
        params = {"method.target_modules": "[q_proj,'v']" if value == 0.2 else "[q_proj]"}
        study.add_trial(create_trial(value=value, params=params, distributions=space))
    text = write_best(study, tmp_path).read_text()
    assert "trial 1, objective 0.2" in text
    assert "method.target_modules:\n- q_proj\n- v\n" in text


def test_without_a_completed_trial_there_is_no_best(tmp_path):
    study = plant(tmp_path, trials=0)
    with pytest.raises(UserError, match="main/sst2/lora: no trial was completed"):
        write_best(study, tmp_path)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
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
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(run, tmp_path, text, message):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        run(f"best={path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["best=true"], r"best=true: there is no .*sst2_lora\.yaml; "
         r"`python train\.py search=lora task=sst2 runs=.* results=.* -m` makes it"),
        (["best=true", "method=rslora", "study.name=x"],
         r"`python train\.py search=lora task=sst2 method=rslora study\.name=x runs=.* -m`"),
        (["best=nowhere.yaml"], r"there is no nowhere\.yaml; .* makes .*sst2_lora\.yaml"),
        (["best=true", "method=majority"], "best=true has no effect on method=majority"),
    ],
)  # fmt: skip
def test_a_missing_file_names_the_command_that_makes_it(run, overrides, message):
    with pytest.raises(UserError, match=message):
        run(*overrides)
