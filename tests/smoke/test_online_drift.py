"""Drift while training is the drift of the analysis."""

import csv

import pytest
from leavings import failing_at_step, weights

from loradrift.activations import ActivationStore
from loradrift.similarity import MEASURES

ONLINE = "callbacks.online_drift.enabled=true"


def logged(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    return {
        step: {name: float(row[name]) for name in ("drift/layer_0", "drift/layer_1", "drift/mean")}
        for step, row in rows.items()
        if row["drift/mean"]
    }


def test_it_logs_what_the_analysis_computes(compute):
    folder, _ = compute(ONLINE)
    store = ActivationStore(folder / "activations")
    found = logged(folder)
    assert list(found) == store.steps == [0, 4, 8, 12]
    for step, values in found.items():
        offline = [
            MEASURES["cka"].distance(store.read(0)[name], store.read(step)[name])
            for name in store.layer_names
        ]
        assert [values["drift/layer_0"], values["drift/layer_1"]] == pytest.approx(
            offline, abs=1e-5
        )
        assert values["drift/mean"] == pytest.approx(sum(offline) / 2, abs=1e-5)


def test_the_numbers_alone_leave_no_activations_and_the_same_weights(compute, tmp_path):
    alone, _ = compute(ONLINE, "callbacks.activation_dump.enabled=false", runs=tmp_path / "alone")
    assert not (alone / "activations").exists()
    both, _ = compute(ONLINE, runs=tmp_path / "both")
    assert logged(alone) == logged(both)
    compute("callbacks.activation_dump.enabled=false", runs=tmp_path / "none")
    one, other = weights(tmp_path / "alone"), weights(tmp_path / "none")
    assert all((one[name] == other[name]).all() for name in one | other)


def test_a_resumed_run_measures_against_the_same_origin(compute, tmp_path, monkeypatch):
    quiet = (ONLINE, "callbacks.activation_dump.enabled=false")
    whole, _ = compute(*quiet, runs=tmp_path / "whole")
    with failing_at_step(monkeypatch, 7):
        compute(*quiet, runs=tmp_path / "resumed")
    resumed, record = compute(*quiet, runs=tmp_path / "resumed")
    assert record.resumed == 1
    assert logged(resumed) == logged(whole)
