"""A cell is finished, interrupted, held by somebody, of another configuration, or new."""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from loradrift.config import SearchConfig, TrainerConfig, UserError
from loradrift.runs import CellBusyError, Status, finished_run, open_cell, open_run, read_record

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
    with open_run(config) as cell:
        cell.save(status=status, metrics={"a": 0.5})


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.COLLAPSED])
@pytest.mark.parametrize("force", [False, True])
def test_a_finished_cell_comes_back_with_its_metrics_even_by_force(config, status, force):
    end(config, status)
    assert finished_run(config).status is status
    with open_run(replace(config, force=force)) as cell:
        assert cell.finished
        assert cell.record.metrics == {"a": 0.5}


@pytest.mark.parametrize(
    "status", [Status.RUNNING, Status.INTERRUPTED, Status.FAILED, Status.PRUNED]
)
def test_an_unfinished_cell_is_taken_up_again_and_started_anew_by_force(config, status):
    end(config, status)
    first = read_record(config.cell)
    with open_run(config) as cell:
        assert not cell.finished
        assert (cell.record.resumed, cell.record.started) == (1, first.started)
        assert cell.record.metrics == {}
    end(config, status)
    with open_run(replace(config, force=True)) as cell:
        assert cell.record.resumed == 0
    assert list((config.cell / "archive").glob("*/run.json"))


def test_another_configuration_is_refused_and_named_and_archived_by_force(config):
    end(config, Status.SUCCESS)
    other = replace(config, task=replace(config.task, max_length=32))
    with pytest.raises(UserError, match=r"task.max_length: 64 -> 32; force=true archives it"):
        open_run(other).__enter__()
    assert read_record(config.cell).status is Status.SUCCESS
    with open_run(replace(other, force=True)) as cell:
        assert not cell.finished
    [archived] = (config.cell / "archive").glob("*/run.json")
    assert json.loads(archived.read_text())["config"]["task"]["max_length"] == 64


@dataclass(kw_only=True)
class Wider(TrainerConfig):
    """A trainer with a field that there was not yet."""

    eager: bool = False


def test_a_key_that_is_new_means_its_default_for_older_records(config):
    end(config, Status.SUCCESS)
    later = replace(config, trainer=Wider(**vars(config.trainer)))
    with open_run(later) as cell:
        assert cell.finished
    assert finished_run(later) == cell.record
    other = replace(later, trainer=replace(later.trainer, eager=True))
    assert finished_run(other) is None
    with pytest.raises(UserError, match=r"configuration: trainer.eager: False -> True; force"):
        open_run(other).__enter__()


def test_a_folder_that_lost_its_record_is_archived_and_a_damaged_record_by_force(config):
    end(config, Status.RUNNING)
    (config.cell / "checkpoints").mkdir()
    (config.cell / "run.json").unlink()
    with open_run(config) as cell:
        assert not (cell.folder / "checkpoints").exists()
    assert list((config.cell / "archive").glob("*/checkpoints"))
    end(config, Status.SUCCESS)
    (config.cell / "run.json").write_text("{")
    with open_run(replace(config, force=True)) as cell:
        assert not cell.finished


def test_a_new_record_knows_its_place_and_survives_writing_and_reading(config):
    with open_run(config, ["seed=1", "runs='it\\'s'"]) as cell:
        assert not cell.finished
        place = {"study": "main", "task": "sst2", "method": "lora", "variant": "", "seed": 1}
        assert cell.record.coordinates == place
        cell.save(status=Status.FAILED, error="one line", steps=7)
    assert read_record(config.cell) == cell.record
    assert (cell.record.kind, cell.record.phase) == ("training", "production")
    assert cell.record.overrides == ["seed=1", "runs='it\\'s'"]
    assert cell.record.ended >= cell.record.started


def test_a_second_process_says_who_holds_the_cell(config):
    command, pipe = [sys.executable, "-c", HOLD, str(config.cell)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        message = rf"seed=1 is held by process {holder.pid} on "
        with pytest.raises(CellBusyError, match=message), open_run(config):
            pass
        holder.stdin.close()
    with open_run(config) as cell:  # the system frees the lock of a process that ended
        assert not cell.finished


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED])
def test_a_trial_waits_for_another_with_the_same_values(config, monkeypatch, status):
    trial = replace(config, search=SearchConfig(storage="sqlite:///x", study="a/b/c", trial=3))
    said = []
    monkeypatch.setattr("builtins.print", lambda line, **_: said.append(line))

    def wait():
        with open_run(trial) as cell:
            return cell.finished

    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        held = stack.enter_context(open_run(config))
        waiter = pool.submit(wait)
        while not said and not waiter.done():
            time.sleep(0.01)
        held.save(status=status)
        assert not waiter.done()
        stack.close()
        assert waiter.result() == (status is Status.SUCCESS)
    assert re.search(r"seed=1 is held by process \d+ .*; waiting for it$", said[0])


def benchmark(folder, rate=4, **options):
    return open_cell(folder, {"rate": rate}, kind="benchmark", coordinates={"rate": 4}, **options)


def test_a_cell_of_another_kind_of_work_is_recorded_resumed_and_skipped(tmp_path):
    def work(error=None, **options):
        with benchmark(tmp_path / "cell", **options) as cell:
            if cell.finished:
                return "skipped", cell.record
            if error:
                raise error
            cell.save(status=Status.SUCCESS, metrics={"tokens_per_s": 9.0})
            return "done", cell.record

    for error, status in (
        (MemoryError("full"), Status.OUT_OF_MEMORY), (RuntimeError("no"), Status.FAILED),
        (KeyboardInterrupt(), Status.INTERRUPTED),
    ):  # fmt: skip
        with pytest.raises(type(error)):
            work(error)
        left = read_record(tmp_path / "cell")
        assert (left.status, left.kind) == (status, "benchmark")
        assert type(error).__name__ in left.error
        assert type(error).__name__ in (tmp_path / "cell/error.log").read_text()
    how, record = work()
    assert (how, record.resumed, record.config) == ("done", 3, {"rate": 4})
    assert work() == ("skipped", record)
    with pytest.raises(UserError, match="another configuration: rate: 4 -> 5; force=true"):
        work(rate=5)
    assert work(rate=5, force=True)[0] == "done"
    assert len(list((tmp_path / "cell/archive").glob("*/run.json"))) == 1
    with benchmark(tmp_path / "held"), pytest.raises(CellBusyError), benchmark(tmp_path / "held"):
        pass
