"""Families unlike Llama, from the command to the certificate; ``tests/slow`` has all of them."""

import pytest
from families import typed, write_family

from loradrift.activations import ActivationStore
from loradrift.config import UserError
from loradrift.runs import open_run, read_record
from loradrift.training import run


@pytest.fixture
def configured(load, model_folder, cache, tmp_path):
    """The configuration of a family's run."""

    def build(name, method):
        folder = write_family(name, model_folder, tmp_path / name)
        return load(*typed(name, method, folder, [f"cache={cache}", f"runs={tmp_path}/runs"]))

    return build


@pytest.mark.parametrize(
    ("name", "method"), [("gpt2", "lora"), ("mixtral", "lora"), ("opt_narrow", "full_finetune")]
)
def test_a_family_trains(configured, name, method):
    config = configured(name, method)
    with open_run(config) as cell:
        record = run(config, cell)
    assert record.status == "success"
    assert method == "full_finetune" or record.certificate["passed"]
    assert ActivationStore(cell.folder / "activations").steps == [0, 2, 3]


@pytest.mark.parametrize("method", ["full_finetune", "zero_shot"])
def test_a_model_that_is_not_causal_is_refused_before_anything_is_computed(configured, method):
    config = configured("bidirectional", method)
    alone = (
        r"^model.path=\S+ cannot be used: a padded row's states differ from the same row's alone"
    )
    with pytest.raises(UserError, match=alone), open_run(config) as cell:
        run(config, cell)
    record = read_record(cell.folder)
    assert record.status == "failed" and not record.steps
    assert not (cell.folder / "activations").exists()
