"""A run's wall time is its own: making the base model, once for all, is not in it."""

import time

from loradrift.runs import open_cell
from loradrift.training import inputs
from loradrift.training.run import run

MAKING_S = 0.5


def test_making_the_base_model_is_not_in_the_wall_time(
    load, model_folder, cache, tmp_path, monkeypatch
):
    resolve = inputs.resolve_model

    def slow(config):
        time.sleep(MAKING_S)
        return resolve(config)

    monkeypatch.setattr(inputs, "resolve_model", slow)
    monkeypatch.setattr(inputs, "_kept", {})  # of an earlier run, which would not ask for it
    config = load(
        "method=majority", "model=local", f"model.path={model_folder}",
        f"cache={cache}", f"runs={tmp_path}/runs",
    )  # fmt: skip
    began = time.perf_counter()
    with open_cell(config) as cell:
        record = run(config, cell)
    whole = time.perf_counter() - began
    assert 0 < record.performance["wall_time_s"] <= whole - MAKING_S
