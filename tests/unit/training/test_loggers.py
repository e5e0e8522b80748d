"""metrics.csv is whole and continues; what a W&B dashboard finds a run by, and what it shows."""

import csv
from types import SimpleNamespace

import pytest

from loradrift.config import UserError
from loradrift.training.loggers import (
    MetricsFile,
    _drift_curves,
    check_logger,
    study_and_phase,
)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ("main", "production")),
        (["study.name=drift"], ("drift", "production")),
        (["study.name=drift", "method=majority"], ("drift", "baselines")),
        (["study.name=drift.search", "phase=search"], ("drift", "search")),
        (["study.name=my.drift.sanity", "experiment=overfit"], ("my.drift", "sanity")),
        (["study.name=v1.2"], ("v1.2", "production")),
        (["study.name=my.search"], ("my.search", "production")),
    ],
)
def test_the_group_is_the_study_and_the_job_type_its_phase(load, overrides, expected):
    assert study_and_phase(load(*overrides)) == expected


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_drift_curves_are_the_logged_ones_where_drift_is_logged(path):
    file = MetricsFile(path, 0)
    file.log_metrics({"train/loss": 0.5}, 2)
    file.save()
    assert _drift_curves(path) == ([], {})
    file.log_metrics({"drift/layer_0": 0.0, "drift/layer_1": 0.0, "drift/mean": 0.0}, 0)
    file.log_metrics({"drift/layer_0": 0.25, "drift/layer_1": 0.5, "drift/mean": 0.375}, 4)
    file.save()
    assert _drift_curves(path) == ([0, 4], {"layer_0": [0.0, 0.25], "layer_1": [0.0, 0.5]})


def test_metrics_of_one_step_share_a_row(path):
    metrics = MetricsFile(path, last_step=0)
    metrics.log_metrics({"train/loss": 0.5, "epoch": 0}, step=10)
    metrics.log_metrics({"validation/accuracy": 1 / 3}, step=10)
    metrics.log_metrics({"train/loss": 0.25}, step=20)
    metrics.save()
    assert rows(path) == [
        {"step": "10", "train/loss": "0.5", "validation/accuracy": repr(1 / 3)},
        {"step": "20", "train/loss": "0.25", "validation/accuracy": ""},
    ]


def test_a_resumed_run_drops_what_it_will_compute_again(path):
    first = MetricsFile(path, last_step=0)
    for step in (10, 20, 30):
        first.log_metrics({"train/loss": float(step)}, step)
    first.finalize("failed")
    second = MetricsFile(path, last_step=20)
    second.log_metrics({"train/loss": -1.0}, 30)
    second.save()
    losses = [(row["step"], row["train/loss"]) for row in rows(path)]
    assert losses == [("10", "10.0"), ("20", "20.0"), ("30", "-1.0")]


def test_a_logger_that_could_not_log_is_refused_and_says_what_to_do(load, monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    asked = SimpleNamespace(mode="online", base_url="https://wandb.invalid", api_key=None)
    monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(settings=asked))
    wandb = load("logger=wandb").logger
    with pytest.raises(UserError, match="logger=wandb needs a key.* WANDB_MODE=offline"):
        check_logger(wandb)
    asked.mode = "offline"
    check_logger(wandb)
    monkeypatch.setattr("loradrift.training.loggers.find_spec", lambda _: None)
    with pytest.raises(UserError, match="logger=wandb needs the package wandb"):
        check_logger(wandb)
    check_logger(load().logger)
