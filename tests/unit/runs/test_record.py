"""Records: read whole or refused by name, those of before schema 2 too."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from loradrift.config import UserError
from loradrift.runs import open_run, read_record


def written(**changes):
    place = {"coordinates": {}, "config": {}, "status": "success", "schema_version": 2}
    return json.dumps(place | changes)


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    for text, message in (
        ("{", "run.json is damaged .*; its own command with force=true archives the run"),
        ("[]", "run.json is damaged .a record must be an object, got list"),
        ("{}", "run.json is damaged .schema_version must be a whole .* got None"),
        ('{"schema_version": "2"}', "schema_version must be a whole number from 1 on, got '2'"),
        ('{"schema_version": true}', "schema_version must be a whole number from 1 on, got True"),
        ('{"schema_version": 2, "final": 1}', "damaged .it holds final, which is no key"),
        ('{"schema_version": 2, "kind": 7}', "damaged .it lacks coordinates"),
        ('{"schema_version": 6}',
         r"run.json has schema_version 6, and this program reads up to 5: update loradrift"),
        ('{"schema_version": 1}', "run.json is damaged"),
        (written(status="lost"), "run.json is damaged .*'lost'"),
        (written(kind=7), "damaged .kind must be text, got int"),
        (written(overrides="x"), "damaged .overrides must be a list, got str"),
    ):  # fmt: skip
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_record(tmp_path)


TYPED = (
    "callbacks.activation_dump.every_n_steps=8", "callbacks.activation_dump.rows=12",
    "callbacks.forgetting.tokens=1024", "data.train_rows=60", "data.validation_rows=20",
    "model.hidden_size=32", "model.intermediate_size=64", "model.num_heads=1",
    "model.num_kv_heads=1", "model.num_layers=2", "model.pretraining.task.max_steps=20",
    "model.vocab_size=400", "task.batch_size=8", "task.max_steps=8", "trainer.checkpoint_every=8",
    "trainer.log_every=4", "trainer.threads=1", "trainer.validate_every=4", "study.name=schema_1",
)  # fmt: skip
"""What made the runs of schema 1, beside task, method and seed."""


def test_a_run_of_schema_1_is_finished_for_the_command_that_made_it(tmp_path, load):
    with tarfile.open(Path(__file__).parents[2] / "fixtures/schema_1/runs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    found = sorted(tmp_path.rglob("run.json"))
    assert len(found) == 8
    for path in found:
        assert json.loads(path.read_text())["schema_version"] == 1
        record = read_record(path.parent)
        assert (record.kind, record.phase, record.schema_version) == ("training", "production", 5)
        # a long variant is cut: what of it the folder's name tells is what was typed
        place, told = record.overrides[:3], record.overrides[3:]
        assert len(told) == 4 and set(told) < set(TYPED)
        typed = (*place, *TYPED, f"runs={tmp_path}/runs")
        config = load(*typed)
        assert config.cell == path.parent
        with open_run(config) as cell:
            assert cell.finished
        names = {name: getattr(config, name) for name in ("variant", "earlier_variant")}
        changed = replace(load(*typed, "trainer.log_every=77"), **names)
        message = r"configuration: trainer\.log_every: \d+ -> 77; force"
        with pytest.raises(UserError, match=message):
            open_run(changed).__enter__()


def test_the_phase_of_a_run_of_schema_1_is_told_by_its_names(tmp_path):
    for study, method, phase in (
        ("drift", "lora", "production"), ("drift.search", "lora", "search"),
        ("my.drift.sanity", "lora", "sanity"), ("drift", "zero_shot", "baselines"),
        ("main", "from_scratch", "base"), (".search", "lora", "production"),
    ):  # fmt: skip
        place = {"study": study, "task": "rte", "method": method, "variant": "", "seed": 3}
        record = {"schema_version": 1, "coordinates": place, "config": {}, "status": "success"}
        (tmp_path / "run.json").write_text(json.dumps(record))
        read = read_record(tmp_path)
        assert read.phase == phase
        assert read.overrides == ["task=rte", f"method={method}", "seed=3"]
