"""A run's wall time is its own: making the base model, once for all, is not in it."""

import time

from loradrift.runs import open_run
from loradrift.training import prepared_data
from loradrift.training.run import run

MAKING_S = 0.5


def test_making_the_base_model_is_not_in_the_wall_time(
    load, model_folder, cache, tmp_path, monkeypatch
):
    resolve = prepared_data.resolve_model

    def slow(*arguments):
        time.sleep(MAKING_S)
        return resolve(*arguments)

    monkeypatch.setattr(prepared_data, "resolve_model", slow)
    monkeypatch.setattr(prepared_data, "_kept", {})  # of an earlier run, which would not ask for it
    config = load(
        "method=majority", "model=local", f"model.path={model_folder}",
        f"cache={cache}", f"runs={tmp_path}/runs",
    )  # fmt: skip
    began = time.perf_counter()
    with open_run(config) as cell:
        record = run(config, cell)
    whole = time.perf_counter() - began
    assert 0 < record.performance["wall_time_s"] <= whole - MAKING_S
