"""What a W&B dashboard finds a run by, and the drift curves that it shows."""

import pytest

from loradrift.training.loggers import _drift_curves, study_and_phase
from loradrift.training.metrics_file import MetricsFile


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


def test_drift_curves_are_the_logged_ones(tmp_path):
    file = MetricsFile(tmp_path / "metrics.csv", 0)
    file.log_metrics({"drift/layer_0": 0.0, "drift/layer_1": 0.0, "drift/mean": 0.0}, 0)
    file.log_metrics({"train/loss": 0.5}, 2)
    file.log_metrics({"drift/layer_0": 0.25, "drift/layer_1": 0.5, "drift/mean": 0.375}, 4)
    file.save()
    steps, layers = _drift_curves(tmp_path / "metrics.csv")
    assert steps == [0, 4]
    assert layers == {"layer_0": [0.0, 0.25], "layer_1": [0.0, 0.5]}


def test_without_online_drift_there_is_no_curve(tmp_path):
    file = MetricsFile(tmp_path / "metrics.csv", 0)
    file.log_metrics({"train/loss": 0.5}, 2)
    file.save()
    assert _drift_curves(tmp_path / "metrics.csv") == ([], {})
