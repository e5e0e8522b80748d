"""The data frames of a run that was really trained."""

import pytest

import loradrift


def test_a_trained_run_as_its_record_has_it(compute):
    folder, record = compute("task=sst2", "method=lora", "seed=3")
    [run] = loradrift.runs_df(folder).to_dict("records")
    assert run | record.metrics == run  # every metric, by its name
    assert (run["task"], run["method"], run["seed"]) == ("sst2", "lora", 3)
    assert (run["status"], run["steps"]) == ("success", record.steps)
    assert run["trainable_parameters"] == record.parameters["trainable"]
    assert run["certificate_passed"] is True and run["wall_time_s"] > 0
    drift = loradrift.drift_df(folder)
    assert drift["step"].unique().tolist() == [0, 4, 8, 12]
    assert (drift.query("step == 0")["drift"].abs() < 1e-9).all()
    assert (drift.query("step == 12")["drift"] > 1e-9).all()
    rows = loradrift.predictions_df(folder)
    accuracy = (rows["prediction"] == rows["label"]).mean()
    assert accuracy == pytest.approx(record.metrics["evaluation/accuracy"])
    changes = loradrift.adapter(folder)
    assert {change.rank for change in changes.values()} == {record.config["method"]["rank"]}
    assert all(change.B_OR.any() for change in changes.values())
