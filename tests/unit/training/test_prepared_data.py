"""The runs of one process read the same inputs once, and others where something differs."""

import shutil

import pytest

from loradrift.config import UserError
from loradrift.training import prepared_data, run
from loradrift.training.prepared_data import prepare


def test_the_next_seed_or_method_reads_nothing_again(configure):
    first = prepare(configure("seed=1"), pretrain=run)
    other = prepare(configure("seed=2", "method=full_finetune", "task.max_steps=3"), pretrain=run)
    assert other.train is first.train and other.probe is first.probe


@pytest.mark.parametrize(
    "override", ["task=rte", "data.train_rows=100", "callbacks.activation_dump.rows=8"]
)
def test_other_rows_are_read(configure, override):
    first, other = prepare(configure(), pretrain=run), prepare(configure(override), pretrain=run)
    assert other.probe is not first.probe
    assert other.fingerprints != first.fingerprints


def test_weights_that_the_seed_draws_are_another_base_model(configure):
    configs = [configure("task=pretrain", f"seed={seed}") for seed in (1, 2)]
    first, other = (prepare(config, pretrain=run).fingerprints for config in configs)
    assert first["base_model"] != other["base_model"]


def test_rows_that_are_missing_are_named_before_the_small_model_is_made(configure, monkeypatch):
    monkeypatch.setattr(prepared_data, "resolve_model", lambda *_: pytest.fail("it was made"))
    with pytest.raises(UserError, match=r"nowhere/SST-2/train.tsv is missing"):
        prepare(configure("data=local", "data.root=nowhere"), pretrain=run)


def test_a_file_that_changed_is_read_again(configure, cache, tmp_path):
    embedded = next((cache / "data").glob("embedded-*-seed=0"))
    shutil.copytree(embedded, tmp_path / "data")
    local = configure("data=local", f"data.root={tmp_path}/data")
    first = prepare(local, pretrain=run).fingerprints
    [path] = tmp_path.rglob("SST-2/train.tsv")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *reversed(lines[1:])]))
    assert prepare(local, pretrain=run).fingerprints["train_rows"] != first["train_rows"]
