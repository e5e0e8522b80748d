"""A run whose model collapses is told, counted, ended where that is asked for, and skipped then."""

import json
from dataclasses import replace

import optuna
import pytest
from answering import healthy, said
from front_doors import output_of
from hydra.core.config_store import ConfigStore
from leavings import cells

from loradrift.config import TASKS, UserError
from loradrift.tasks import register

LOOPS = said([[3] * 16] * 32)
TYPED = ("task=echo", "task.max_steps=6", "trainer.validate_every=2", "trainer.threads=1")


def build(*arguments):
    """SST-2's task, which also answers: in a loop from step 4 on."""
    task = TASKS["sst2"].build(*arguments)
    figures = task.figures

    def answering(split):
        task.generations = LOOPS if task.global_step >= 4 else healthy(1)
        return figures(split)

    task.figures = answering
    return task


@pytest.fixture(autouse=True)
def echo():
    """The task, registered for one test."""
    register(replace(TASKS["sst2"], name="echo", generates=True, build=build))
    yield
    del TASKS["echo"]
    for group in ("task", "schema"):
        options = ConfigStore.instance().repo[group]
        del (options if group == "task" else options["task"])["echo.yaml"]


def only(tmp_path):
    [(name, record)] = cells(tmp_path / "runs").items()
    return tmp_path / "runs" / name, record


def test_alarms_are_told_and_counted_and_the_run_goes_on(train_here, tmp_path):
    out = output_of(train_here(*TYPED))
    folder, record = only(tmp_path)
    assert record["status"] == "success" and record["steps"] == 6
    assert out.count("collapse at step 4, repetition: repeated_ngram_rate 0.933 above 0.5") == 1
    assert "alarms of collapse in 1 of 1 runs; first cause: repetition 1" in out
    found = record["collapse"]
    assert (found["evaluations"], found["alarms"], found["first_step"]) == (3, 2, 4)
    rows = [json.loads(line) for line in (folder / "diagnostics.jsonl").open()]
    assert [(row["step"], row["collapsed"]) for row in rows] == [(2, False), (4, True), (6, True)]
    assert all(0 <= row["accuracy"] <= 1 and row["collapse"]["lora_gradient"] > 0 for row in rows)
    assert "collapse/self_bleu" in (folder / "metrics.csv").read_text().splitlines()[0]


def test_a_run_that_may_not_collapse_ends_there_and_is_not_run_again(train_here, tmp_path):
    typed = (*TYPED, "callbacks.collapse.stop_on_collapse=true")
    assert "1 of 1 runs collapsed" in output_of(train_here(*typed))
    folder, record = only(tmp_path)
    assert (record["status"], record["steps"], record["collapse"]["alarms"]) == ("collapsed", 4, 1)
    assert record["error"].startswith("collapsed at step 4, repetition: repeated_ngram_rate 0.933")
    assert set(record["metrics"]) >= {"validation/accuracy", "validation/loss"}
    assert not any(name.startswith("evaluation/") for name in record["metrics"])
    assert record["ended"] and record["performance"]["wall_time_s"] > 0
    assert not (folder / "predictions.jsonl").exists() and not (folder / "model").exists()
    assert not (folder / "checkpoints/last.ckpt").exists()
    before = (folder / "run.json").read_bytes()
    assert "finished already" in output_of(train_here(*typed))
    assert (folder / "run.json").read_bytes() == before


def test_a_collapsed_trial_is_never_the_best(train_here, tmp_path):
    typed = [*TYPED, "callbacks.collapse.stop_on_collapse=true", "search=lora", "-m"]
    typed += ["hydra.sweeper.n_trials=1", f"results={tmp_path}/results"]
    said_of_it = train_here(*typed)
    url = f"sqlite:///{tmp_path}/runs/.search/main.db"
    [trial] = optuna.load_study(study_name="main/echo/lora", storage=url).trials
    assert trial.state.name == "PRUNED" and only(tmp_path)[1]["status"] == "collapsed", said_of_it


def test_a_setting_without_effect_is_refused(load):
    with pytest.raises(UserError, match="callbacks.collapse has no effect on task=sst2, which gen"):
        load("task=sst2", "callbacks.collapse.stop_on_collapse=true")
    with pytest.raises(UserError, match=r"callbacks.collapse.grace must be in \[0, 1\], got 1.5"):
        load("task=echo", "callbacks.collapse.grace=1.5")
    with pytest.raises(UserError, match="stop_on_collapse must be false with .*enabled=false"):
        load("callbacks.collapse={stop_on_collapse:true,enabled:false}", "task=echo")
