"""A cell is finished, interrupted, held by somebody, of another configuration, or new."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from loradrift.config import SearchConfig, UserError
from loradrift.runs import CellBusyError, Status, open_cell, read_record, write_record

HOLD = """
import sys
from pathlib import Path
from loradrift.runs.cell import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def config(load, tmp_path):
    return replace(load("seed=1"), runs=str(tmp_path / "runs"))


def end(config, status):
    with open_cell(config) as cell:
        write_record(cell.folder, replace(cell.record, status=status, metrics={"a": 0.5}))


def test_a_new_cell_knows_its_place(config):
    with open_cell(config) as cell:
        assert not cell.finished
        assert cell.record.coordinates == {
            "study": "main",
            "task": "sst2",
            "method": "lora",
            "variant": "",
            "seed": 1,
        }


def test_a_finished_cell_comes_back_with_its_metrics(config):
    end(config, Status.SUCCESS)
    with open_cell(config) as cell:
        assert cell.finished
        assert cell.record.metrics == {"a": 0.5}


@pytest.mark.parametrize("status", [Status.RUNNING, Status.INTERRUPTED, Status.FAILED])
def test_an_unfinished_cell_is_taken_up_again(config, status):
    end(config, status)
    first = read_record(config.cell)
    with open_cell(config) as cell:
        assert not cell.finished
        assert (cell.record.resumed, cell.record.started) == (1, first.started)
        assert cell.record.metrics == {}


def test_another_configuration_is_refused_and_named(config):
    end(config, Status.SUCCESS)
    other = replace(config, task=replace(config.task, max_length=32))
    with (
        pytest.raises(UserError, match=r"task.max_length: 64 -> 32; force=true archives it"),
        open_cell(other),
    ):
        pass
    assert read_record(config.cell).status is Status.SUCCESS


def test_force_archives_the_other_configuration(config):
    end(config, Status.SUCCESS)
    other = replace(config, task=replace(config.task, max_length=32), force=True)
    with open_cell(other) as cell:
        assert not cell.finished
    [archived] = (config.cell / "archive").glob("*/run.json")
    assert json.loads(archived.read_text())["config"]["task"]["max_length"] == 64


def test_a_folder_that_lost_its_record_is_archived(config):
    end(config, Status.RUNNING)
    (config.cell / "checkpoints").mkdir()
    (config.cell / "run.json").unlink()
    with open_cell(config) as cell:
        assert not (cell.folder / "checkpoints").exists()
    assert list((config.cell / "archive").glob("*/checkpoints"))


@pytest.mark.parametrize("status", [Status.RUNNING, Status.FAILED])
def test_force_starts_an_unfinished_run_anew(config, status):
    end(config, status)
    with open_cell(replace(config, force=True)) as cell:
        assert cell.record.resumed == 0
    assert list((config.cell / "archive").glob("*/run.json"))


def test_force_archives_a_damaged_record(config):
    end(config, Status.SUCCESS)
    (config.cell / "run.json").write_text("{")
    with open_cell(replace(config, force=True)) as cell:
        assert not cell.finished


def test_force_leaves_a_finished_run_of_the_same_configuration_alone(config):
    end(config, Status.SUCCESS)
    with open_cell(replace(config, force=True)) as cell:
        assert cell.finished


def test_a_second_process_says_who_holds_the_cell(config):
    command = [sys.executable, "-c", HOLD, str(config.cell)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        message = rf"seed=1 is held by process {holder.pid} on "
        with pytest.raises(CellBusyError, match=message), open_cell(config):
            pass
        holder.stdin.close()
    with open_cell(config) as cell:  # the system frees the lock of a process that ended
        assert not cell.finished


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED])
def test_a_trial_waits_for_another_with_the_same_values(config, capsys, status):
    trial = replace(config, search=SearchConfig(storage="sqlite:///x", study="a/b/c", trial=3))
    said = ""

    def wait():
        with open_cell(trial) as cell:
            return cell.finished

    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        held = stack.enter_context(open_cell(config))
        waiter = pool.submit(wait)
        while "\n" not in said:
            said += capsys.readouterr().out
        write_record(config.cell, replace(held.record, status=status))
        assert not waiter.done()
        stack.close()
        assert waiter.result() == (status is Status.SUCCESS)
    assert re.search(r"seed=1 is held by process \d+ .*; waiting for it\n", said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json is damaged .* force=true archives the run and starts anew"),
        ("[]", "schema_version None, this version reads 1"),
        ('{"schema_version": 99}', "schema_version 99, this version reads 1"),
        ('{"schema_version": 1}', "run.json is damaged"),
        ('{"schema_version": 1, "status": "lost"}', "run.json is damaged .*'lost'"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_record(tmp_path)


def test_a_record_survives_writing_and_reading(config):
    with open_cell(config) as cell:
        record = replace(cell.record, status=Status.FAILED, error="one line", steps=7)
        write_record(cell.folder, record)
    assert read_record(config.cell) == record
