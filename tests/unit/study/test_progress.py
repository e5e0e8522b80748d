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
def design(load, tmp_path):
    """Two production cells and a baseline, none of them begun."""

    def config(method, seed):
        return replace(
            load(f"method={method}", "task=mrpc"), seed=seed, runs=str(tmp_path / "runs"),
            cache=str(tmp_path / "cache"),
        )  # fmt: skip

    found = {
        "baselines": [config("majority", 1)],
        "production": [config("lora", n) for n in (1, 2)],
    }
    return {phase: [StudyCell((), each, None) for each in cells] for phase, cells in found.items()}


@pytest.fixture
def clock(monkeypatch):
    now = [time.time()]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    return now


@pytest.fixture
def end(tmp_path):
    """Have a job leave what it leaves."""

    def leave(number, config, error=None, **metrics):
        with open_run(config) as held:
            held.save(status=Status.SUCCESS, metrics=metrics)
        note = {"name": config.cell_name, "cell": str(config.cell), "error": error}
        note_path(tmp_path, number).write_text(json.dumps(note))

    return leave


def begin(config, step=None):
    with open_run(config) as held:
        held.save()
    if step is not None:
        (config.cell / "metrics.csv").write_text(f"step,train/loss\n9,1.0\n{step},0.5\n")


def followed(progress, phase, cells):
    return progress.follow(phase, dict(enumerate(cell.config for cell in cells)))


def test_the_time_left_goes_by_the_steps_of_all_cells(design, tmp_path, clock, end):
    progress = Progress(design, tmp_path, tmp_path / "cache")
    cells = design["production"]
    assert progress.line() == "cell 0 of 3"  # nothing is known yet
    with followed(progress, "production", cells):
        clock[0] += 100
        end(0, cells[0].config, **{"evaluation/accuracy": 0.9125})
        progress.look()
        # 300 steps took 100 seconds; 300 more are left, and the 20 that a baseline is worth
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)
        assert (
            progress.line()
            == "cell 1 of 3, about 2 min left, last: mrpc lora seed 1, accuracy 91.2 %"
        )
        begin(cells[1].config, step=149)
        os.utime(cells[1].config.cell / "run.json", (clock[0], clock[0]))
        assert progress.seconds_left() == pytest.approx(100 * (320 - 150) / 450)


def test_the_base_models_time_is_not_the_cells(design, tmp_path, clock, end, capsys):
    progress = Progress(design, tmp_path, tmp_path / "cache")
    cells = design["production"]
    base = replace(cells[0].config, runs=str(tmp_path / "cache" / "pretraining"))
    begin(base, step=299)
    os.utime(base.cell / "run.json", (clock[0], clock[0]))
    with followed(progress, "production", cells):
        clock[0] += 1000
        progress.look()
        assert (
            capsys.readouterr().out == "production: making the base model, once: step 300 of 300\n"
        )
        with open_run(base) as held:
            held.save(status=Status.SUCCESS)
        clock[0] += 100
        end(0, cells[0].config)
        progress.look()
        assert progress.seconds_left() == pytest.approx(100 * 320 / 300)


def test_what_an_earlier_command_left_is_not_under_way(design, tmp_path, clock):
    progress = Progress(design, tmp_path, tmp_path / "cache")
    begin(design["production"][0].config, step=149)
    clock[0] += 60
    with followed(progress, "production", design["production"]):
        assert progress.seconds_left() is None


def test_on_a_pipe_there_is_a_line_now_and_then_and_one_for_each_failure(
    design, tmp_path, clock, end, capsys
):
    cells = design["production"]
    every = {"production": [*cells, *(replace_seed(cells[0], n) for n in range(3, 8))]}
    progress = Progress(every, tmp_path, tmp_path / "cache")
    with followed(progress, "production", every["production"]):
        for number, cell in enumerate(every["production"]):
            clock[0] += 4
            failure = {1: "no such luck", 2: "KeyboardInterrupt: interrupted"}.get(number)
            end(number, cell.config, failure)
            progress.look()
    said = capsys.readouterr()
    lines = re.findall(r"^production: cell (\d) of 7", said.out, re.M)
    assert lines == ["1", "4", "5"]  # at first, after 20 seconds more, at the end of the phase
    assert said.err == f"error: no such luck (in {cells[1].config.cell_name})\n"


def replace_seed(cell, seed):
    return cell._replace(config=replace(cell.config, seed=seed))


def test_on_a_terminal_a_table_shows_phases_and_cells_under_way(design, tmp_path, clock):
    progress = Progress(design, tmp_path, tmp_path / "cache")
    cells = design["production"]
    with followed(progress, "production", cells):
        begin(cells[0].config, step=199)
        os.utime(cells[0].config.cell / "run.json", (clock[0], clock[0]))
        shown = StringIO()
        Console(file=shown, width=100).print(progress.table())
    lines = shown.getvalue().splitlines()
    assert re.match(r"baselines .* 0 of 1 cells", lines[0])
    assert re.match(r"production .* 0 of 2 cells", lines[1])
    assert lines[2].split() == ["mrpc", "lora", "seed", "1", "step", "200", "of", "300"]
    assert lines[3].startswith("cell 0 of 3")


def test_a_run_that_evaluates_is_not_beyond_its_last_step(design):
    config = design["production"][0].config
    begin(config, step=300)  # the row of the final figures
    assert module.steps(config.cell, config.task.max_steps) == 300
    assert module.steps(config.cell, None) == 301


def test_a_sanity_check_says_the_accuracy_that_it_is_about(design, end):
    config = design["production"][0].config
    end(0, config, **{"train/accuracy": 0.995, "evaluation/accuracy": 0.55})
    assert module.score(config) == "accuracy on its own rows 99.5 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0, ""), (29, "less than a minute left"), (200, "about 3 min left")],
)
def test_time_in_words(seconds, text):
    assert time_left(seconds) == text
