"""What a log file hears of work that lasts; time across processes."""

import json
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from loradrift import progress
from loradrift.callbacks.progress import ProgressLines
from loradrift.callbacks.throughput import Throughput
from loradrift.stopwatch import Seconds
from loradrift.training import run
from loradrift.training.base_model import resolve_model


@pytest.fixture
def seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def go(lines, seconds, steps, *, first=0, micro_batches=1):
    trainer = SimpleNamespace(global_step=first, is_global_zero=True)
    lines.on_train_start(trainer, None)
    for step in range(first + 1, steps + 1):
        seconds[0] += 2.0
        for _ in range(micro_batches):
            trainer.global_step = step
            lines.on_train_batch_end(trainer, None, None, None, 0)


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_each_tenth_is_a_line_with_the_time_left(seconds, capsys, micro_batches):
    go(ProgressLines(40), seconds, 40, micro_batches=micro_batches)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 10
    assert said[0] == "step 4 of 40, about 1 min 12 s left"
    assert said[-1] == "step 40 of 40, about 0 s left"


def test_a_resumed_run_counts_its_own_pace(seconds, capsys):
    go(ProgressLines(40), seconds, 28, first=21)
    assert capsys.readouterr().out.splitlines() == [
        "step 24 of 40, about 32 s left",
        "step 28 of 40, about 24 s left",
    ]


def test_fewer_steps_than_tenths_are_a_line_each(seconds, capsys):
    go(ProgressLines(3), seconds, 3)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_throughput_counts_the_time_of_the_process_before(seconds, monkeypatch):
    seconds[0] = 1000.0
    monkeypatch.setattr("time.process_time", lambda: 57.0)
    first, second = Throughput(Seconds(900.0, 50.0)), Throughput(Seconds(990.0, 55.0))
    first.tokens, first.seconds = 50, 2.0
    second.load_state_dict(first.state_dict())
    assert second.figures(1)["tokens_per_s"] == 25
    assert second.earlier == Seconds(100, 7)
    figures = second.figures(1)
    assert (figures["wall_time_s"], figures["cpu_time_s"]) == (110, 9)
    old = {key: value for key, value in first.state_dict().items() if key != "cpu_seconds"}
    second.load_state_dict(old)  # a checkpoint of before: nobody knows its CPU seconds
    assert "cpu_time_s" not in second.figures(1) and second.figures(1)["wall_time_s"] == 110


def test_lines_of_one_job_of_many_begin_with_its_name(seconds, capsys):
    with progress.lines_of("main/sst2/lora/seed=1"):
        go(ProgressLines(2), seconds, 1)
    with progress.lines_of(None):  # another process of the same run
        go(ProgressLines(2), seconds, 2)
    assert capsys.readouterr().out == "main/sst2/lora/seed=1: step 1 of 2, about 2 s left\n"


def test_preparations_that_last_are_told_and_short_ones_are_not(seconds, capsys):
    tenths = progress.Tenths("prompt", 100, quiet_s=30)
    for done in range(1, 101):
        seconds[0] += 1.0
        tenths.reach(done)
    assert capsys.readouterr().out.splitlines() == [
        "prompt 30 of 100, about 1 min 10 s left",
        "prompt 60 of 100, about 40 s left",
        "prompt 90 of 100, about 10 s left",
    ]


def test_work_without_a_count_is_told_each_time_that_it_has_lasted_twice_as_long(
    capsys, monkeypatch
):
    monkeypatch.setattr(progress, "QUIET_S", 600.0)
    with progress.announced("making windows"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "QUIET_S", 0.002)
    told = threading.Event()
    monkeypatch.setattr(progress, "duration", lambda seconds: told.set() or f"{seconds:.3f} s")
    with progress.lines_of("seed=1"), progress.announced("making windows"):
        assert told.wait(60)
    assert capsys.readouterr().out.startswith("seed=1: making windows: 0.002 s so far\n")


def test_a_bar_on_a_terminal_is_left_alone_unless_other_jobs_write_there(monkeypatch):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert progress.watched()
    with progress.lines_of("seed=1"):
        assert progress.watched()  # one job after the other, in this process
        monkeypatch.setattr(progress, "parent_process", lambda: "the launcher")
        assert not progress.watched()
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    with progress.announced("evaluating", has_bar=True):
        assert "evaluating" not in {thread.name for thread in threading.enumerate()}


def test_a_run_says_how_far_it_is(compute, capsys):
    compute("task.max_steps=20")
    out = capsys.readouterr().out
    assert re.findall(r"^step (\d+) of 20, about \d+ s left$", out, re.M) == [
        str(step) for step in range(2, 21, 2)
    ]


def test_who_waits_for_the_small_model_hears_how_far_it_is(configure, cache, capsys):
    config = configure("model.pretraining.task.max_steps=4", "model.pretraining.seed=5")
    resolve_model(config, pretrain=run)
    [path] = (cache / "pretraining").rglob("seed=5/run.json")
    assert json.loads(path.read_text())["status"] == "success"
    out = capsys.readouterr().out
    assert "model=tiny: pretraining its weights" in out
    assert re.findall(r"^step (\d) of 4, about \d+ s left$", out, re.M) == ["1", "2", "3", "4"]
