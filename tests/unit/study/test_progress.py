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
from loradrift.study.cells import StudyCell, steps
from loradrift.study.progress import Progress, time_left


@pytest.fixture
def config(load, tmp_path):
    places = (f"runs={tmp_path}/runs", f"cache={tmp_path}/cache")
    return lambda name, seed=1: replace(load(f"method={name}", "task=mrpc", *places), seed=seed)


@pytest.fixture
def cell(config):
    """A cell of a study, not begun."""
    return lambda name, seed=1: StudyCell((), config(name, seed), None)


@pytest.fixture
def cells(cell):
    """Two production cells."""
    return [cell("lora", seed) for seed in (1, 2)]


@pytest.fixture
def progress(cell, cells, tmp_path):
    """Of these cells and a baseline."""
    return Progress({"baselines": [cell("majority")], "production": cells}, tmp_path / "cache")


@pytest.fixture
def follow(tmp_path):
    """Follow cells whose jobs leave their notes here."""
    return lambda progress, cells: progress.follow("production", dict(enumerate(cells)), tmp_path)


class Jobs:
    """What jobs leave, and the clock."""

    def __init__(self, folder):
        self.folder, self.now = folder, time.time()

    def begin(self, cell, step):
        config = cell.config
        with open_run(config) as held:
            held.save()
        (config.cell / "metrics.csv").write_text(f"step,train/loss\n9,1.0\n{step},0.5\n")
        os.utime(config.cell / "run.json", (self.now, self.now))

    def end(self, number, cell, error=None, **metrics):
        config = cell.config
        with open_run(config) as held:
            held.save(status=Status.SUCCESS, metrics=metrics)
        note = {"name": config.cell_name, "cell": str(config.cell), "error": error}
        note_path(self.folder, number).write_text(json.dumps(note))


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    made = Jobs(tmp_path)
    monkeypatch.setattr(module.time, "time", lambda: made.now)
    monkeypatch.setattr(module, "POLL_S", 3600)  # the tests look for themselves
    return made


def test_the_time_left_goes_by_the_steps_of_all_cells(progress, follow, cells, jobs):
    assert progress.line() == "cell 0 of 3"  # nothing is known yet
    with follow(progress, cells):
        jobs.now += 100
        jobs.end(0, cells[0], **{"evaluation/accuracy": 0.9125})
        progress.look()
        # 300 steps took 100 seconds; 300 more are left, and the 20 that a baseline is worth
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)
        said = "cell 1 of 3, about 2 min left, last: mrpc lora seed 1, accuracy 91.2 %"
        assert progress.line() == said
        jobs.begin(cells[1], step=149)
        assert progress.seconds_left() == pytest.approx(100 * (320 - 150) / 450)


def test_the_base_models_time_is_not_the_cells(cell, follow, cells, jobs, capsys):
    planned = {"baselines": [cell("majority")], "production": cells}
    progress = Progress(planned, jobs.folder / "cache")
    config = replace(cells[0].config, runs=str(jobs.folder / "cache" / "pretraining"))
    base = cells[0]._replace(config=config)
    jobs.begin(base, step=299)
    with follow(progress, cells):
        jobs.now += 1000
        progress.look()
        said = "production: making the base model, once: step 300 of 300\n"
        assert capsys.readouterr().out == said
        with open_run(config) as held:
            held.save(status=Status.SUCCESS)
        jobs.now += 100
        jobs.end(0, cells[0])
        progress.look()
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)


def test_what_an_earlier_command_left_is_not_under_way(progress, follow, cells, jobs):
    jobs.begin(cells[0], step=149)
    jobs.now += 60
    with follow(progress, cells):
        assert progress.seconds_left() is None


def test_a_pipe_gets_a_line_now_and_then_and_for_each_failure(cell, follow, tmp_path, jobs, capsys):
    cells = [cell("lora", seed) for seed in range(1, 8)]
    progress = Progress({"production": cells}, tmp_path / "cache")
    with follow(progress, cells):
        for number, each in enumerate(cells):
            jobs.now += 4
            failure = {1: "no such luck", 2: "KeyboardInterrupt: interrupted"}.get(number)
            jobs.end(number, each, failure)
            progress.look()
    said = capsys.readouterr()
    lines = re.findall(r"^production: cell (\d) of 7", said.out, re.M)
    assert lines == ["1", "4", "5"]  # at first, after 20 seconds more, at the end of the phase
    assert said.err == f"error: no such luck (in {cells[1].config.cell_name})\n"


def test_on_a_terminal_a_table_shows_phases_and_cells_under_way(progress, follow, cells, jobs):
    with follow(progress, cells):
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
    assert cells[0].work_so_far() == 300
    assert steps(cells[0].folder, None) == 301
    jobs.end(0, cells[0], **{"train/accuracy": 0.995, "evaluation/accuracy": 0.55})
    assert cells[0].outcome() == "accuracy on its own rows 99.5 %"


def test_time_in_words():
    assert time_left(None) == time_left(0.0) == ""
    assert (time_left(29), time_left(200)) == ("less than a minute left", "about 3 min left")
