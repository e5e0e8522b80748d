"""What a log file hears of the pretraining of the small model; time across processes."""

import json
import re
import time
from types import SimpleNamespace

import pytest

from loradrift.callbacks.progress import ProgressLines
from loradrift.callbacks.throughput import Throughput
from loradrift.training import build, run
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
    assert said[0] == "step 4 of 40, about 72 s left"
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


def test_throughput_counts_the_time_of_the_process_before(seconds):
    seconds[0] = 1000.0
    first, second = Throughput(900.0), Throughput(990.0)
    first.tokens, first.seconds = 50, 2.0
    second.load_state_dict(first.state_dict())
    assert second.figures(1)["tokens_per_s"] == 25
    assert second.earlier_seconds == 100
    assert second.state_dict()["wall_seconds"] == 110


def test_only_pretraining_has_them(load):
    assert build.progress_lines(load("task=sst2"), 9) == []
    assert len(build.progress_lines(load("task=pretrain", "method=from_scratch"), 9)) == 1


def test_who_waits_for_the_small_model_hears_how_far_it_is(configure, cache, capsys):
    config = configure("model.pretraining.task.max_steps=4", "model.pretraining.seed=5")
    resolve_model(config, pretrain=run)
    [path] = (cache / "pretraining").rglob("seed=5/run.json")
    assert json.loads(path.read_text())["status"] == "success"
    out = capsys.readouterr().out
    assert "model=tiny: pretraining its weights" in out
    assert re.findall(r"^step (\d) of 4, about \d+ s left$", out, re.M) == ["1", "2", "3", "4"]
