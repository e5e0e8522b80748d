"""metrics.csv is whole at every save and continues after a resume."""

import csv

from loradrift.training.metrics_file import MetricsFile


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_of_one_step_share_a_row(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = MetricsFile(path, last_step=0)
    metrics.log_metrics({"train/loss": 0.5, "epoch": 0}, step=10)
    metrics.log_metrics({"validation/accuracy": 1 / 3}, step=10)
    metrics.log_metrics({"train/loss": 0.25}, step=20)
    metrics.save()
    assert rows(path) == [
        {"step": "10", "train/loss": "0.5", "validation/accuracy": repr(1 / 3)},
        {"step": "20", "train/loss": "0.25", "validation/accuracy": ""},
    ]


def test_a_resumed_run_drops_what_it_will_compute_again(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path, last_step=0)
    for step in (10, 20, 30):
        first.log_metrics({"train/loss": float(step)}, step)
    first.finalize("failed")
    second = MetricsFile(path, last_step=20)
    second.log_metrics({"train/loss": -1.0}, 30)
    second.save()
    assert [(row["step"], row["train/loss"]) for row in rows(path)] == [
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "-1.0"),
    ]
