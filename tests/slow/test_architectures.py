"""Each family of causal language models trains end to end, or is refused before it trains."""

import pytest
import torch
from families import FAMILIES, typed, write_family

from loradrift.activations import ActivationStore
from loradrift.config import UserError
from loradrift.runs import open_run, read_record
from loradrift.training import run

REFUSED = {
    "bidirectional": "a padded row's states differ from the same row's alone",
    "bidirectional_gemma": "a padded row's states differ from the same row's alone",
    "bert": "a padded row's states differ from the same row's alone",
    "roberta": "a padded row's states differ|its forward pass fails: index",
    "longrope": "or positions depend on the longest row",
    "bert_decoder": "its scores of next tokens are not its output layer's",
    "modernbert-decoder": "its scores of next tokens are not its output layer's",
    "xlnet": "model.attention must be eager|a padded row's states differ",
    "bart": "parameters that should train change nothing in its states, .*encoder_attn",
    "t5": "is no causal language model",
}
WITHOUT_LORA = {"mamba": r"method.target_modules=\[all-linear\]: .*incompatible with Mamba"}
CELLS = [(name, method) for name in FAMILIES for method in ("lora", "full_finetune")]
# its router has a gradient only where two experts' scores are 2 % apart: not in three steps
CELLS.remove(("phimoe", "full_finetune"))


@pytest.fixture
def trained(load, model_folder, cache, tmp_path):
    """The cell of a family's run, computed."""

    def compute(name, method, *more):
        folder = write_family(name, model_folder, tmp_path / name)
        places = [f"cache={cache}", f"runs={tmp_path}/runs", *more]
        config = load(*typed(name, method, folder, places))
        with open_run(config) as cell:
            run(config, cell)
        return cell

    return compute


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), CELLS)
def test_a_family_trains_or_is_refused_before_it_does(trained, tmp_path, name, method):
    reason = REFUSED.get(name) or (WITHOUT_LORA.get(name) if method == "lora" else None)
    if reason:
        with pytest.raises(UserError, match=reason) as error:
            trained(name, method)
        assert "\n" not in str(error.value)
        [folder] = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
        record = read_record(folder)
        assert record.status == "failed" and not record.steps
        assert not (folder / "activations").exists()
        return
    cell = trained(name, method)
    record, store = read_record(cell.folder), ActivationStore(cell.folder / "activations")
    assert record.status == "success"
    assert method == "full_finetune" or record.certificate["passed"]
    assert store.steps == [0, 2, 3]
    first, last = store.read(0), store.read(3)
    assert [*first] == ["layer_0", "layer_1"]
    assert all(torch.isfinite(x).all() for x in last.values())
    assert not torch.equal(first["layer_1"], last["layer_1"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modernbert-decoder", "bert_decoder"])
def test_a_model_with_layers_before_its_scores_trains_where_none_are_read(trained, name):
    assert trained(name, "lora", "callbacks.forgetting.enabled=false").record.certificate["passed"]


@pytest.mark.slow
def test_a_state_space_model_trains_by_the_layers_that_peft_takes(trained):
    cell = trained("mamba", "lora", "method.target_modules=[in_proj,x_proj]")
    assert cell.record.certificate["passed"]
