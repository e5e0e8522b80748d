"""A cell is finished, interrupted, held by somebody, of another configuration, or new."""

import json
import re
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from loradrift.config import SearchConfig, TrainerConfig, UserError
from loradrift.runs import CellBusyError, Status, finished_run, open_cell, open_run, read_record

HOLD = """
import sys
import tarfile
import time
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


def test_a_new_cell_knows_its_place(config):
    with open_run(config) as cell:
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
    with open_run(config) as cell:
        assert cell.finished
        assert cell.record.metrics == {"a": 0.5}


@pytest.mark.parametrize("status", [Status.RUNNING, Status.INTERRUPTED, Status.FAILED])
def test_an_unfinished_cell_is_taken_up_again(config, status):
    end(config, status)
    first = read_record(config.cell)
    with open_run(config) as cell:
        assert not cell.finished
        assert (cell.record.resumed, cell.record.started) == (1, first.started)
        assert cell.record.metrics == {}


def test_another_configuration_is_refused_and_named(config):
    end(config, Status.SUCCESS)
    other = replace(config, task=replace(config.task, max_length=32))
    with (
        pytest.raises(UserError, match=r"task.max_length: 64 -> 32; force=true archives it"),
        open_run(other),
    ):
        pass
    assert read_record(config.cell).status is Status.SUCCESS


def test_force_archives_the_other_configuration(config):
    end(config, Status.SUCCESS)
    other = replace(config, task=replace(config.task, max_length=32), force=True)
    with open_run(other) as cell:
        assert not cell.finished
    [archived] = (config.cell / "archive").glob("*/run.json")
    assert json.loads(archived.read_text())["config"]["task"]["max_length"] == 64


def test_a_folder_that_lost_its_record_is_archived(config):
    end(config, Status.RUNNING)
    (config.cell / "checkpoints").mkdir()
    (config.cell / "run.json").unlink()
    with open_run(config) as cell:
        assert not (cell.folder / "checkpoints").exists()
    assert list((config.cell / "archive").glob("*/checkpoints"))


@pytest.mark.parametrize("status", [Status.RUNNING, Status.FAILED])
def test_force_starts_an_unfinished_run_anew(config, status):
    end(config, status)
    with open_run(replace(config, force=True)) as cell:
        assert cell.record.resumed == 0
    assert list((config.cell / "archive").glob("*/run.json"))


def test_force_archives_a_damaged_record(config):
    end(config, Status.SUCCESS)
    (config.cell / "run.json").write_text("{")
    with open_run(replace(config, force=True)) as cell:
        assert not cell.finished


def test_force_leaves_a_finished_run_of_the_same_configuration_alone(config):
    end(config, Status.SUCCESS)
    with open_run(replace(config, force=True)) as cell:
        assert cell.finished


def test_a_second_process_says_who_holds_the_cell(config):
    command = [sys.executable, "-c", HOLD, str(config.cell)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json is damaged .* force=true archives the run and starts anew"),
        ("[]", "run.json is damaged .a record must be an object, got list"),
        ("{}", "run.json is damaged .'schema_version'"),
        (
            '{"schema_version": 3}',
            r"run.json has schema_version 3, and this program reads up to 2: update loradrift",
        ),
        ('{"schema_version": 1}', "run.json is damaged"),
        ('{"schema_version": 2, "status": "lost"}', "run.json is damaged .*'lost'"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_record(tmp_path)


def test_a_record_survives_writing_and_reading(config):
    with open_run(config, ["seed=1", "runs='it\\'s'"]) as cell:
        cell.save(status=Status.FAILED, error="one line", steps=7)
    assert read_record(config.cell) == cell.record
    assert (cell.record.kind, cell.record.phase) == ("training", "production")
    assert cell.record.overrides == ["seed=1", "runs='it\\'s'"]
    assert cell.record.ended >= cell.record.started


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
        (MemoryError("full"), Status.OUT_OF_MEMORY),
        (RuntimeError("no"), Status.FAILED),
        (KeyboardInterrupt(), Status.INTERRUPTED),
    ):
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


@dataclass(kw_only=True)
class Wider(TrainerConfig):
    """A trainer with a field that there was not yet."""

    eager: bool = False
    """As all runs did before they could be told."""


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


@pytest.fixture(scope="session")
def schema_1(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema_1")
    with tarfile.open(Path(__file__).parents[2] / "fixtures/schema_1/runs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs"


TYPED = (
    "callbacks.activation_dump.every_n_steps=8", "callbacks.activation_dump.rows=12",
    "callbacks.forgetting.tokens=1024", "data.train_rows=60", "data.validation_rows=20",
    "model.hidden_size=32", "model.intermediate_size=64", "model.num_heads=1",
    "model.num_kv_heads=1", "model.num_layers=2", "model.pretraining.task.max_steps=20",
    "model.vocab_size=400", "task.batch_size=8", "task.max_steps=8", "trainer.checkpoint_every=8",
    "trainer.log_every=4", "trainer.threads=1", "trainer.validate_every=4", "study.name=schema_1",
)  # fmt: skip
"""What made the runs of schema 1, beside task, method and seed."""


def test_a_run_of_schema_1_is_finished_for_the_command_that_made_it(schema_1, load):
    found = sorted(schema_1.rglob("run.json"))
    assert len(found) == 8
    for path in found:
        assert json.loads(path.read_text())["schema_version"] == 1
        record = read_record(path.parent)
        assert (record.kind, record.phase, record.schema_version) == ("training", "production", 2)
        # a long variant is cut: what of it the folder's name tells is what was typed
        place, told = record.overrides[:3], record.overrides[3:]
        assert len(told) == 4 and set(told) < set(TYPED)
        config = load(*place, *TYPED, f"runs={schema_1}")
        assert config.cell == path.parent
        with open_run(config) as cell:
            assert cell.finished
        changed = load(*place, *TYPED, f"runs={schema_1}", "trainer.log_every=77")
        with (
            pytest.raises(UserError, match=r"configuration: trainer\.log_every: \d+ -> 77; force"),
            open_run(replace(changed, variant=config.variant)),
        ):
            pass


@pytest.mark.parametrize(
    ("study", "method", "phase"),
    [
        ("drift", "lora", "production"),
        ("drift.search", "lora", "search"),
        ("my.drift.sanity", "lora", "sanity"),
        ("drift", "zero_shot", "baselines"),
        ("main", "from_scratch", "base"),
        (".search", "lora", "production"),
    ],
)
def test_the_phase_of_a_run_of_schema_1_is_told_by_its_names(tmp_path, study, method, phase):
    place = {"study": study, "task": "rte", "method": method, "variant": "", "seed": 3}
    record = {"schema_version": 1, "coordinates": place, "config": {}, "status": "success"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    read = read_record(tmp_path)
    assert read.phase == phase
    assert read.overrides == ["task=rte", f"method={method}", "seed=3"]
