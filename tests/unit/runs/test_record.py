"""Records: read whole or refused by name, those of before schema 2 too."""

import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from loradrift.config import TrainerConfig, UserError
from loradrift.runs import Status, finished_run, open_run, read_record


@pytest.fixture
def config(load, tmp_path):
    return replace(load("seed=1"), runs=str(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json is damaged .* force=true archives the run and starts anew"),
        ("[]", "run.json is damaged .a record must be an object, got list"),
        ("{}", "run.json is damaged .'schema_version'"),
        ('{"schema_version": 3}', "schema_version 3, and this program reads up to 2: update lorad"),
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


@dataclass(kw_only=True)
class Wider(TrainerConfig):
    """A trainer with a field that there was not yet."""

    eager: bool = False
    """As all runs did before they could be told."""


def test_a_key_that_is_new_means_its_default_for_older_records(config):
    with open_run(config) as cell:
        cell.save(status=Status.SUCCESS, metrics={"a": 0.5})
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
        with pytest.raises(UserError, match=r"configuration: trainer\.log_every: \d+ -> 77; force"):
            open_run(replace(changed, variant=config.variant)).__enter__()


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
