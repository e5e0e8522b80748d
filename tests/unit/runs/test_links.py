"""The runs of a chain are those that were there when it was made, or a line says which is not."""

import pytest

from loradrift.config import UserError
from loradrift.runs.links import chain_at


@pytest.mark.parametrize("method", ["lora", "full_finetune"])
def test_a_run_before_that_was_trained_again_is_named(planted, begin, after, tmp_path, method):
    """Also where what follows on it has whole weights, which do not need those before."""
    first = tmp_path / planted(method=method)
    second = planted("mrpc", method, variant="after=rte", **after(first))
    third = planted("sst2", method, variant="after=rte+mrpc", **after(tmp_path / second))
    assert len(chain_at(tmp_path / third, "", tmp_path)) == 3
    (first / "model/model.safetensors").write_text("trained again")
    said = (
        r"mrpc/\S+ began with the run \S+/rte/\S+, and that run has other weights now.*force=true"
    )
    for folder, task in ((second, "sst2"), (third, "squad_v2")):
        with pytest.raises(UserError, match=said):
            begin(folder, task=task, method=method)


def test_the_run_that_fits_the_record_is_found_where_it_was_typed(planted, after, tmp_path):
    """A run in its place, of other weights, is none of the chain."""
    first = tmp_path / planted(runs="elsewhere")
    second = tmp_path / planted("mrpc", variant="after=rte", **after(first))
    beside = tmp_path / planted()
    assert [link.folder for link in chain_at(second, "", tmp_path)] == [first, second]
    (beside / "run.json").write_text("{")
    assert chain_at(second, "", tmp_path)[0].folder == first


def test_a_chain_that_names_itself_ends(planted, begin, tmp_path):
    own = {"study": "main", "task": "rte", "method": "lora", "variant": "", "seed": 1}
    config = {"model": {"name": "tiny"}, "start": {"weights": "0"}}
    folder = planted(start={"chain": [own], "run": "x"}, config=config)
    with pytest.raises(UserError, match="and that is step 2 of a chain now, and was step 1"):
        begin(folder)
