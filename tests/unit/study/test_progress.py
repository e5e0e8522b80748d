"""What is said of a study while it runs."""

import json
import os
import re
import time
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from loradrift.cli.job_summary import note_path
from loradrift.runs import Status, open_run
from loradrift.study import progress as module
from loradrift.study.cells import StudyCell
from loradrift.study.progress import Progress, time_left


@pytest.fixture
def config(load, tmp_path):
    places = (f"runs={tmp_path}/runs", f"cache={tmp_path}/cache")
    return lambda name, seed=1: replace(load(f"method={name}", "task=mrpc", *places), seed=seed)


@pytest.fixture
def cells(config):
    """Two production cells, not begun."""
    return [config("lora", seed) for seed in (1, 2)]


@pytest.fixture
def progress(config, cells, tmp_path):
    """Of these cells and a baseline."""
    return of({"baselines": [config("majority")], "production": cells}, tmp_path)


def of(phases, folder):
    planned = {phase: [StudyCell((), each, None) for each in of] for phase, of in phases.items()}
    return Progress(planned, folder, folder / "cache")


class Jobs:
    """What jobs leave, and the clock."""

    def __init__(self, folder):
        self.folder, self.now = folder, time.time()

    def begin(self, config, step):
        with open_run(config) as held:
            held.save()
        (config.cell / "metrics.csv").write_text(f"step,train/loss\n9,1.0\n{step},0.5\n")
        os.utime(config.cell / "run.json", (self.now, self.now))

    def end(self, number, config, error=None, **metrics):
        with open_run(config) as held:
            held.save(status=Status.SUCCESS, metrics=metrics)
        note = {"name": config.cell_name, "cell": str(config.cell), "error": error}
        note_path(self.folder, number).write_text(json.dumps(note))


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    made = Jobs(tmp_path)
    monkeypatch.setattr(module.time, "time", lambda: made.now)
    return made


def test_the_time_left_goes_by_the_steps_of_all_cells(progress, cells, jobs):
    assert progress.line() == "cell 0 of 3"  # nothing is known yet
    with progress.follow("production", dict(enumerate(cells))):
        jobs.now += 100
        jobs.end(0, cells[0], **{"evaluation/accuracy": 0.9125})
        progress.look()
        # 300 steps took 100 seconds; 300 more are left, and the 20 that a baseline is worth
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)
        said = "cell 1 of 3, about 2 min left, last: mrpc lora seed 1, accuracy 91.2 %"
        assert progress.line() == said
        jobs.begin(cells[1], step=149)
        assert progress.seconds_left() == pytest.approx(100 * (320 - 150) / 450)


def test_the_base_models_time_is_not_the_cells(config, cells, jobs, tmp_path, capsys):
    progress = of({"baselines": [config("majority")], "production": cells}, tmp_path)
    base = replace(cells[0], runs=str(tmp_path / "cache" / "pretraining"))
    jobs.begin(base, step=299)
    with progress.follow("production", dict(enumerate(cells))):
        jobs.now += 1000
        progress.look()
        said = "production: making the base model, once: step 300 of 300\n"
        assert capsys.readouterr().out == said
        with open_run(base) as held:
            held.save(status=Status.SUCCESS)
        jobs.now += 100
        jobs.end(0, cells[0])
        progress.look()
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)


def test_what_an_earlier_command_left_is_not_under_way(progress, cells, jobs):
    jobs.begin(cells[0], step=149)
    jobs.now += 60
    with progress.follow("production", dict(enumerate(cells))):
        assert progress.seconds_left() is None


def test_a_pipe_gets_a_line_now_and_then_and_for_each_failure(config, tmp_path, jobs, capsys):
    cells = [config("lora", seed) for seed in range(1, 8)]
    progress = of({"production": cells}, tmp_path)
    with progress.follow("production", dict(enumerate(cells))):
        for number, cell in enumerate(cells):
            jobs.now += 4
            failure = {1: "no such luck", 2: "KeyboardInterrupt: interrupted"}.get(number)
            jobs.end(number, cell, failure)
            progress.look()
    said = capsys.readouterr()
    lines = re.findall(r"^production: cell (\d) of 7", said.out, re.M)
    assert lines == ["1", "4", "5"]  # at first, after 20 seconds more, at the end of the phase
    assert said.err == f"error: no such luck (in {cells[1].cell_name})\n"


def test_on_a_terminal_a_table_shows_phases_and_cells_under_way(progress, cells, jobs):
    with progress.follow("production", dict(enumerate(cells))):
        jobs.begin(cells[0], step=199)
        shown = StringIO()
        Console(file=shown, width=100).print(progress.table())
    lines = shown.getvalue().splitlines()
    assert re.match(r"baselines .* 0 of 1 cells", lines[0])
    assert re.match(r"production .* 0 of 2 cells", lines[1])
    assert lines[2].split() == ["mrpc", "lora", "seed", "1", "step", "200", "of", "300"]
    assert lines[3].startswith("cell 0 of 3")


def test_evaluating_is_not_beyond_the_last_step_and_a_sanity_check_has_an_accuracy(cells, jobs):
    jobs.begin(cells[0], step=300)  # the row of the final figures
    assert module.steps(cells[0].cell, cells[0].task.max_steps) == 300
    assert module.steps(cells[0].cell, None) == 301
    jobs.end(0, cells[0], **{"train/accuracy": 0.995, "evaluation/accuracy": 0.55})
    assert module.score(cells[0]) == "accuracy on its own rows 99.5 %"


def test_time_in_words():
    assert time_left(None) == time_left(0.0) == ""
    assert (time_left(29), time_left(200)) == ("less than a minute left", "about 3 min left")
